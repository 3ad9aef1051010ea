import { setTimeout as sleep } from 'node:timers/promises';
import { Failure } from './errors.js';

const FIRST_PAUSE_MS = 250;
const LONGEST_PAUSE_MS = 8_000;
/** What is over sooner is not worth a word. */
const TELL_AFTER_MS = 2_000;

export interface RetryOptions {
  /** For how long after a first failure there are further tries; 0 for none. */
  retryForMs: number;
  /** Failures after which no further try of the same can help, though one of more can. */
  isOver?: (failure: Failure) => boolean;
  /** Ends the pauses. */
  signal?: AbortSignal | undefined;
  /** Is told what failed last and which try comes next when that has gone on for two seconds; undefined once it is over. */
  onTrouble: (trouble: Trouble | undefined) => void;
}

export interface Trouble {
  failure: Failure;
  nextTry: number;
}

/** Something that is tried again with growing pauses, as long as it fails for reasons that may pass. */
export class Retries {
  private failures = 0;
  private firstFailure = 0;
  private trouble: Trouble | undefined;
  private silence: NodeJS.Timeout | undefined;

  constructor(private readonly options: RetryOptions) {}

  /**
   * Pauses before the next try.
   * @throws the failure when it is permanent, or when patience is at its end; the signal's reason
   */
  async after(failure: unknown): Promise<void> {
    const { signal, retryForMs, onTrouble, isOver } = this.options;
    signal?.throwIfAborted();
    const now = performance.now();
    if (this.failures === 0) this.firstFailure = now;
    if (!(failure instanceof Failure) || failure.persistence === 'permanent') throw failure;
    if (isOver?.(failure) === true) throw failure;
    if (now - this.firstFailure >= retryForMs) throw failure;
    this.failures++;
    this.trouble = { failure, nextTry: this.failures + 1 };
    this.silence ??= setTimeout(() => onTrouble(this.trouble), TELL_AFTER_MS);
    if (now - this.firstFailure >= TELL_AFTER_MS) onTrouble(this.trouble);
    const longest = Math.min(FIRST_PAUSE_MS * 2 ** (this.failures - 1), LONGEST_PAUSE_MS);
    // Spread at random, so that clients that failed together do not retry together.
    await pause(longest * (0.5 + Math.random() / 2), signal);
  }

  /** It went well, or was given up: a failure from now on is a first one. */
  over(): void {
    if (this.failures === 0) return;
    this.failures = 0;
    this.trouble = undefined;
    clearTimeout(this.silence);
    this.silence = undefined;
    this.options.onTrouble(undefined);
  }
}

/** Does work, again if need be. @throws what the work failed with last; the signal's reason */
export async function retry<Result>(work: () => Promise<Result>, options: RetryOptions): Promise<Result> {
  const retries = new Retries(options);
  try {
    for (;;)
      try {
        return await work();
      } catch (error) {
        await retries.after(error);
      }
  } finally {
    retries.over();
  }
}

/** @throws the signal's reason as soon as it is aborted */
async function pause(milliseconds: number, signal: AbortSignal | undefined): Promise<void> {
  await sleep(milliseconds, undefined, { signal }).catch(() => undefined);
  signal?.throwIfAborted();
}
