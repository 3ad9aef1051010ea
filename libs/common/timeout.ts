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
