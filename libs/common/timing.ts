import { setTimeout as sleep } from 'node:timers/promises';

export interface PollOptions {
  everyMs: number;
  timeoutMs: number;
  /** Ends the polling. */
  signal?: AbortSignal | undefined;
}

/**
 * Polls until there is an answer. Looks at least once, and a last time when the time is over.
 * @returns undefined if there was none in time
 * @throws what `look` throws; the signal's reason
 */
export async function pollUntil<Answer>(
  look: () => Promise<Answer | undefined> | Answer | undefined,
  { everyMs, timeoutMs, signal }: PollOptions,
): Promise<Answer | undefined> {
  for (const deadline = performance.now() + timeoutMs; ;) {
    signal?.throwIfAborted();
    // Timers may fire a fraction of a millisecond early.
    const isLast = performance.now() > deadline - 1;
    const answer = await look();
    if (answer !== undefined || isLast) return answer;
    await sleep(Math.max(0, Math.min(everyMs, deadline - performance.now())), undefined, { signal }).catch(
      () => signal?.throwIfAborted(),
    );
  }
}

/**
 * Runs work with a time limit. Its signal is aborted with `reason()` when the time is over, or with the outer signal's
 * reason if that is aborted first. The timer does not keep the process alive, and ends with the work.
 * @throws the error of the work
 */
export async function withTimeout<Result>(
  milliseconds: number,
  outer: AbortSignal | undefined,
  reason: () => unknown,
  work: (signal: AbortSignal) => Promise<Result>,
): Promise<Result> {
  const late = new AbortController();
  const timer = setTimeout(() => late.abort(reason()), milliseconds).unref();
  try {
    return await work(outer === undefined ? late.signal : AbortSignal.any([outer, late.signal]));
  } finally {
    clearTimeout(timer);
  }
}
