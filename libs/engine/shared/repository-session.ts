import { addAbortListener } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Scope, Secret } from '#config';
import { displayDatabase, Failure, isSameDatabase, retry, runTaskGroup } from '#common';
import type { DatabaseIdentity } from '#contracts';
import {
  databaseIdentity,
  expectOwnBackend,
  type LockMode,
  Observer,
  Session,
  takeRepositoryLock,
} from '#postgres';
import type { RowProgress } from './row-progress.js';

/** The database that is backed up and restored. */
export interface Repository {
  url: Secret;
  /** How messages name the URL; REPOSITORY_URL if missing. */
  urlName?: string;
  /** The part of it. */
  scope: Scope;
  /** How long to retry while the server is unreachable or starting: milliseconds. */
  retryForMs: number;
  /** The database that the URL must lead to; missing for any. */
  identity?: DatabaseIdentity;
  /** How long to wait for the repository lock if no job of snapshotd holds it: milliseconds. */
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
 * Opens a session with the repository. Retries only this: the work of a session is lost with its connection.
 * @throws Failure, or the signal's reason
 */
export function openSession({
  repository: { url, urlName = 'REPOSITORY_URL', retryForMs, identity },
  applicationName,
  progress,
  signal,
}: RepositorySessionOptions): Promise<Session> {
  const open = async () => {
    const session = await Session.open(url.reveal(), { applicationName, signal });
    try {
      if (identity !== undefined) await expectDatabase(session, identity, urlName);
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

/** Refuses a connection to any other database than the expected one. @throws Failure REPOSITORY_ELSEWHERE */
async function expectDatabase(session: Session, expected: DatabaseIdentity, urlName: string): Promise<void> {
  const here = await databaseIdentity(session);
  if (isSameDatabase(here, expected) !== false) return;
  throw new Failure(
    'REPOSITORY_ELSEWHERE',
    'permanent',
    `Another database answers at ${urlName}: ${displayDatabase(here)}. The repository is ${displayDatabase(expected)}.`,
    { hint: 'Correct the URL, or accept this database as the repository.' },
  );
}

/** Opens the session that a job works on. Only one attempt of the job waits for an unreachable server. */
async function openWorkingSession(options: RepositorySessionOptions): Promise<Session> {
  const { retryForMs } = options.repository;
  try {
    return await openSession(options);
  } catch (error) {
    if (!(error instanceof Failure) || error.code !== 'DATABASE_UNREACHABLE' || retryForMs === 0) throw error;
    const { code, message, hint = '' } = error;
    const tried = `${message} snapshotd retried for ${retryForMs / 1_000} seconds (RETRY_SECONDS).`;
    throw new Failure(code, 'permanent', tried, { hint, cause: error });
  }
}

interface WorkOptions extends RepositorySessionOptions {
  /** The mode of the repository lock that the session holds during the work; missing if the caller holds the lock. */
  lock?: LockMode | undefined;
}

type Work<Result> = (session: Session, signal: AbortSignal, observer: Observer) => Promise<Result>;

/** The pause before a session that was cut while it waited for the lock is opened again. */
const REOPEN_AFTER_MS = 1_000;

/**
 * Runs work on a session with the repository that holds the repository lock. If a proxy cuts a session that only waits
 * for the lock, another session continues to wait, so that the job loses no attempt.
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
      progress.say(`Reconnecting to wait for the repository lock: ${error.message}`);
      await sleep(REOPEN_AFTER_MS, undefined, { signal: options.signal }).catch(() => undefined);
    }
  }
}

/**
 * Runs work on a session with the repository. A second connection reports its progress, and cancels its statements when
 * the signal is aborted. Uncommitted work is rolled back at the end.
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
      async (stopped) => {
        try {
          return await stopping(session, observer, stopped, async () => {
            await expectOwnBackend(
              session.client,
              repository.url.reveal(),
              repository.urlName ?? 'REPOSITORY_URL',
            );
            return work(session, stopped, observer);
          });
        } finally {
          watching.abort();
          // Closing the connection also ends a query that a silent server does not answer.
          await observer.close();
        }
      },
      (stopped) => progress.watch(observer, session.pid, AbortSignal.any([stopped, watching.signal])),
    ]);
    return result;
  } finally {
    await session.close();
  }
}

/** Waits for the repository lock and reports its holders. The session holds it until it ends. */
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
 * Cancels the session's statements when the signal is aborted. Otherwise a statement that waits for a lock could occupy
 * the server for hours.
 */
async function stopping<Result>(
  session: Session,
  observer: Observer,
  signal: AbortSignal,
  work: () => Promise<Result>,
): Promise<Result> {
  const settled = new AbortController();
  using _listener = addAbortListener(signal, () => void cancelUntil(settled.signal, session, observer));
  try {
    signal.throwIfAborted();
    return await work();
  } finally {
    settled.abort();
  }
}

const CANCEL_EVERY_MS = 200;
const DROP_AFTER_MS = 1_000;

/**
 * Cancels the session's statements repeatedly, because one cancel may fall between two statements. If the server does
 * not react, both connections are dropped.
 */
async function cancelUntil(settled: AbortSignal, session: Session, observer: Observer): Promise<void> {
  const drop = setTimeout(() => {
    session.destroy();
    observer.destroy();
  }, DROP_AFTER_MS);
  settled.addEventListener('abort', () => clearTimeout(drop), { once: true });
  while (!settled.aborted) {
    // A failed observer is dropped with the session.
    await observer.cancel(session.pid).catch(() => undefined);
    await sleep(CANCEL_EVERY_MS, undefined, { signal: settled }).catch(() => undefined);
  }
}
