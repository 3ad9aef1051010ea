import { runTaskGroup } from '#common';
import type { Session } from '#postgres';

/** Work for one of several sessions. */
export interface ParallelTask {
  /** The thing that it locks; missing if it must run alone. */
  locks?: string;
  /** Whether it may run beside others with the same lock that are shared, too. */
  shared: boolean;
  run: (session: Session) => Promise<void>;
  /** Returns the tasks that can be done once this one is. They queue behind all others. */
  next?: () => ParallelTask[];
}

/**
 * Runs tasks on several sessions. Each session takes the first task that clashes with none that runs. The first failure
 * ends the others after their present task.
 */
export async function runParallel(
  sessions: Session[],
  tasks: ParallelTask[],
  signal: AbortSignal,
): Promise<void> {
  const waiting = [...tasks];
  const running = new Set<ParallelTask>();
  let wake: () => void = () => undefined;
  let changed = new Promise<void>((resolve) => (wake = resolve));
  const change = () => {
    wake();
    changed = new Promise<void>((resolve) => (wake = resolve));
  };
  const work = (session: Session) => async (stopped: AbortSignal) => {
    try {
      while (waiting.length > 0 || running.size > 0) {
        stopped.throwIfAborted();
        const index = waiting.findIndex((task) => mayRunBeside(task, running));
        const task = waiting[index];
        if (task === undefined) {
          await changed;
          continue;
        }
        waiting.splice(index, 1);
        running.add(task);
        try {
          await task.run(session);
          waiting.push(...(task.next?.() ?? []));
        } finally {
          running.delete(task);
          change();
        }
      }
    } finally {
      change();
    }
  };
  await runTaskGroup(signal, sessions.map(work));
}

function mayRunBeside(task: ParallelTask, running: Set<ParallelTask>): boolean {
  if (task.locks === undefined) return running.size === 0;
  return [...running].every(
    (other) => other.locks !== undefined && (other.locks !== task.locks || (other.shared && task.shared)),
  );
}
