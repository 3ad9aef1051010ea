import { setTimeout as sleep } from 'node:timers/promises';
import { Failure } from './errors.js';

const FIRST_PAUSE_MS = 250;
const LONGEST_PAUSE_MS = 8_000;
/** Shorter troubles are not reported. */
const TELL_AFTER_MS = 2_000;

export interface RetryOptions {
  /** How long retries continue after a first failure; 0 for no retries. */
  retryForMs: number;
  /** Transient failures that only a larger retry can solve, such as one of the whole job. */
  isOver?: (failure: Failure) => boolean;
  /** Ends the pauses. */
  signal?: AbortSignal | undefined;
  /** Called with the last failure and the number of the next try after two seconds of failures; with undefined afterwards. */
  onTrouble: (trouble: Trouble | undefined) => void;
}

export interface Trouble {
  failure: Failure;
  nextTry: number;
}

/** Paces the retries of transient failures with growing pauses. */
export class Retries {
  private failures = 0;
  private firstFailure = 0;
  private trouble: Trouble | undefined;
  private silence: NodeJS.Timeout | undefined;

  constructor(private readonly options: RetryOptions) {}

  /**
   * Pauses before the next try.
   * @throws the failure if it is permanent, or if the time for retries is over; the signal's reason
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

  /** Ends the retries after a success or a final failure. The next failure counts as a first one. */
  over(): void {
    if (this.failures === 0) return;
    this.failures = 0;
    this.trouble = undefined;
    clearTimeout(this.silence);
    this.silence = undefined;
    this.options.onTrouble(undefined);
  }
}

/** Does work, and retries transient failures. @throws the last failure; the signal's reason */
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
