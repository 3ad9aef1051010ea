import { Observer, Session } from '#postgres';
import type { CopyProgress } from './copy-progress.js';
import { together } from './together.js';

export interface RepositorySessionOptions {
  url: string;
  /** Shown in pg_stat_activity. */
  applicationName: string;
  progress: CopyProgress;
  signal: AbortSignal;
}

/**
 * Runs work on a session with the repository, while a second connection watches it: tells its progress, and
 * stops what the server does when the signal says so. Whatever was not committed is rolled back at the end.
 */
export async function withRepositorySession<Result>(
  { url, applicationName, progress, signal }: RepositorySessionOptions,
  work: (session: Session, signal: AbortSignal) => Promise<Result>,
): Promise<Result> {
  progress.say('Connecting to PostgreSQL');
  const session = await Session.open(url, { applicationName });
  try {
    const observer = await Observer.open(url, `${applicationName} observer`);
    try {
      const watching = new AbortController();
      const [result] = await together(signal, [
        async (signal) => {
          try {
            return await stopping(session, observer, signal, () => work(session, signal));
          } finally {
            watching.abort();
          }
        },
        (signal) => progress.watch(observer, session.pid, AbortSignal.any([signal, watching.signal])),
      ]);
      return result;
    } finally {
      await observer.close();
    }
  } finally {
    await session.close();
  }
}

/**
 * Sees to it that the server stops too when the signal says so: a statement that waits for a lock would not
 * notice for hours that nobody waits for it any more.
 */
async function stopping<Result>(
  session: Session,
  observer: Observer,
  signal: AbortSignal,
  work: () => Promise<Result>,
): Promise<Result> {
  const stop = () => void observer.cancel(session.pid).catch(() => session.destroy());
  signal.addEventListener('abort', stop, { once: true });
  try {
    signal.throwIfAborted();
    return await work();
  } finally {
    signal.removeEventListener('abort', stop);
  }
}
