import { Failure, withTimeout } from '#common';

/** The time limit of the object store, because a client is waiting. */
const ANSWER_WITHIN_MS = 30_000;

/** Runs work for a client that waits. @throws Failure STORE_UNREACHABLE if the store takes too long */
export function inTime<Result>(work: (signal: AbortSignal) => Promise<Result>): Promise<Result> {
  const late = () =>
    new Failure(
      'STORE_UNREACHABLE',
      'transient',
      `The object store has not answered within ${ANSWER_WITHIN_MS / 1000} seconds.`,
      { hint: 'Try again in a moment.' },
    );
  return withTimeout(ANSWER_WITHIN_MS, undefined, late, async (signal) => {
    try {
      return await work(signal);
    } catch (error) {
      signal.throwIfAborted();
      throw error;
    }
  });
}
