/**
 * Runs work under a time limit: its signal is aborted with `reason()` when the time is over, and with the outer signal's
 * reason when that is aborted first. The timer never keeps the process alive, and ends with the work.
 * @throws what the work throws
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
