import { setTimeout as sleep } from 'node:timers/promises';
import type { Secret } from '#config';
import { Failure, retry, runTaskGroup } from '#common';
import { type DatabaseIdentity } from '#contracts';
import { expectOwnBackend, type LockMode, Observer, Session, takeRepositoryLock } from '#postgres';
import type { RowProgress } from './row-progress.js';
import { expectDatabase } from './same-database.js';

/** The database that is backed up and restored. */
export interface Repository {
  url: Secret;
  schemas: string[];
  /** For how long a server that is away, or that starts, is waited for: milliseconds. */
  retryForMs: number;
  /** The database that the URL must lead to; whichever it is when missing. */
  identity?: DatabaseIdentity;
  /** For how long a session that is none of our jobs may hold the repository lock: milliseconds. */
  lockTimeoutMs: number;
}

export interface RepositorySessionOptions {
  repository: Repository;
  /** Shown in pg_stat_activity. */
  applicationName: string;
  progress: RowProgress;
  signal: AbortSignal;
}

/**
 * Opens a session with the repository. Only this is tried again here: what a session did is lost with it.
 * @throws Failure, or the signal's reason
 */
export function openSession({
  repository: { url, retryForMs, identity },
  applicationName,
  progress,
  signal,
}: RepositorySessionOptions): Promise<Session> {
  const open = async () => {
    const session = await Session.open(url.reveal(), { applicationName, signal });
    try {
      if (identity !== undefined) await expectDatabase(session, identity);
      return session;
    } catch (error) {
      session.destroy();
      throw error;
    }
  };
  const until = new Date(Date.now() + retryForMs).toISOString().slice(11, 19);
  return retry(open, {
    retryForMs,
    signal,
    onTrouble: (trouble) => {
      if (trouble !== undefined)
        progress.say(
          `Waiting for PostgreSQL (try ${trouble.nextTry}, gives up at ${until} UTC): ${trouble.failure.message}`,
        );
    },
  });
}

/** Opens the session that a job works on. A server that is away is waited for once, and not in further attempts. */
async function openWorkingSession(options: RepositorySessionOptions): Promise<Session> {
  const { retryForMs } = options.repository;
  try {
    return await openSession(options);
  } catch (error) {
    if (!(error instanceof Failure) || error.code !== 'DATABASE_UNREACHABLE' || retryForMs === 0) throw error;
    const { code, message, hint = '' } = error;
    const tried = `${message} It was tried for ${retryForMs / 1_000} seconds (RETRY_SECONDS).`;
    throw new Failure(code, 'permanent', tried, { hint, cause: error });
  }
}

interface WorkOptions extends RepositorySessionOptions {
  /** How the repository lock is taken before the work begins, and held until it ends; missing if the caller holds it. */
  lock?: LockMode | undefined;
}

type Work<Result> = (session: Session, signal: AbortSignal, observer: Observer) => Promise<Result>;

/** How soon a session is opened again that was cut while it waited for the lock. */
const OPEN_AGAIN_AFTER_MS = 1_000;

/**
 * Runs work on a session with the repository, once it has the repository lock. A session that only waits for the lock
 * has nothing to lose: if it is cut, as by a proxy, another one goes on waiting, and no attempt of the job is spent.
 * @throws Failure REPOSITORY_BUSY, PostgreSQL's; the signal's reason
 */
export async function withRepositorySession<Result>(
  options: WorkOptions,
  work: Work<Result>,
): Promise<Result> {
  const { lock, repository, progress } = options;
  for (;;) {
    let isWaiting = false;
    try {
      return await onOneSession(options, async (session, signal, observer) => {
        isWaiting = true;
        if (lock !== undefined) await lockRepository(session, lock, { repository, progress, signal });
        isWaiting = false;
        return work(session, signal, observer);
      });
    } catch (error) {
      const isCut = error instanceof Failure && error.code === 'DATABASE_CONNECTION_LOST';
      if (!isWaiting || !isCut || options.signal.aborted) throw error;
      progress.say(`Connecting again, to wait for the repository lock: ${error.message}`);
      await sleep(OPEN_AGAIN_AFTER_MS, undefined, { signal: options.signal }).catch(() => undefined);
    }
  }
}

/**
 * Runs work on a session with the repository, while a second connection watches it: tells its progress, and
 * stops what the server does when the signal says so. Whatever was not committed is rolled back at the end.
 */
async function onOneSession<Result>(options: RepositorySessionOptions, work: Work<Result>): Promise<Result> {
  const { repository, applicationName, progress, signal } = options;
  progress.say('Connecting to PostgreSQL');
  const session = await openWorkingSession(options);
  try {
    const observer = await Observer.open(repository.url.reveal(), {
      applicationName: `${applicationName} observer`,
      signal,
      beside: session,
    });
    const watching = new AbortController();
    const [result] = await runTaskGroup(signal, [
      async (signal) => {
        try {
          return await stopping(session, observer, signal, async () => {
            await expectOwnBackend(session.client, repository.url.reveal(), 'REPOSITORY_URL');
            return work(session, signal, observer);
          });
        } finally {
          watching.abort();
          // A question that a silent server does not answer ends with its connection.
          await observer.close();
        }
      },
      (signal) => progress.watch(observer, session.pid, AbortSignal.any([signal, watching.signal])),
    ]);
    return result;
  } finally {
    await session.close();
  }
}

/** Waits for the repository lock, saying who holds it, and holds it until the session ends. */
async function lockRepository(
  session: Session,
  mode: LockMode,
  { repository, progress, signal }: Omit<RepositorySessionOptions, 'applicationName'>,
): Promise<void> {
  const waiting = 'Waiting for the repository lock';
  progress.say(waiting);
  await takeRepositoryLock(session, mode, {
    timeoutMs: repository.lockTimeoutMs,
    onWait: (holders) => progress.say(`${waiting}: held by ${holders}`),
    signal,
  });
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
