import { setTimeout as sleep } from 'node:timers/promises';
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
  const session = await Session.open(url, { applicationName, signal });
  try {
    const observer = await Observer.open(url, { applicationName: `${applicationName} observer`, signal });
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
  const settled = new AbortController();
  const stop = () => void cancelUntil(settled.signal, session, observer);
  signal.addEventListener('abort', stop, { once: true });
  try {
    signal.throwIfAborted();
    return await work();
  } finally {
    settled.abort();
    signal.removeEventListener('abort', stop);
  }
}

const CANCEL_EVERY_MS = 200;
const DROP_AFTER_MS = 1_000;

/**
 * Cancels the session's statements again and again, since one cancel may fall between two of them. A server
 * that does not react is left alone: both connections are dropped.
 */
async function cancelUntil(settled: AbortSignal, session: Session, observer: Observer): Promise<void> {
  const drop = setTimeout(() => {
    session.destroy();
    observer.destroy();
  }, DROP_AFTER_MS);
  settled.addEventListener('abort', () => clearTimeout(drop), { once: true });
  while (!settled.aborted) {
    // An observer that fails is dropped with the session, a moment later.
    await observer.cancel(session.pid).catch(() => undefined);
    await sleep(CANCEL_EVERY_MS, undefined, { signal: settled }).catch(() => undefined);
  }
}
