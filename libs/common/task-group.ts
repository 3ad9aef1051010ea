export type Task<Result> = (signal: AbortSignal) => Promise<Result>;

type Results<Tasks extends readonly Task<unknown>[]> = { [I in keyof Tasks]: Awaited<ReturnType<Tasks[I]>> };

/**
 * Runs tasks concurrently. The first failure aborts the others through the signal, and is thrown when all have ended. An
 * abort from outside reaches the tasks through the signal too; tasks that had ended before keep their results.
 * @returns the tasks' results, in their order
 */
export async function runTaskGroup<const Tasks extends readonly Task<unknown>[]>(
  outer: AbortSignal,
  tasks: Tasks,
): Promise<Results<Tasks>> {
  const scope = new AbortController();
  const signal = AbortSignal.any([outer, scope.signal]);
  const results = await Promise.all(
    tasks.map(async (task) => {
      try {
        return await task(signal);
      } catch (error) {
        scope.abort(error);
        return undefined;
      }
    }),
  );
  if (scope.signal.aborted) throw scope.signal.reason;
  // Promise.all keeps the order, and without a failure every task has returned its own result.
  return results as Results<Tasks>;
}
