import { setTimeout as sleep } from 'node:timers/promises';
import { Failure } from '#common';
import type { Observer, Session } from '#postgres';

const LOOK_EVERY_MS = 250;

/**
 * Runs work that locks the repository's tables, and cancels it if a session waits for one lock for too long.
 * @throws Failure TABLE_LOCKED that names the holder, or what the work throws
 */
export async function limitLockWait<Result>(
  session: Session,
  observer: Observer,
  limitMs: number,
  work: () => Promise<Result>,
): Promise<Result> {
  const done = new AbortController();
  let failure: Failure | undefined;
  const watching = waitTooLong(session, observer, limitMs, done.signal).then(async (lock) => {
    if (lock === undefined) return;
    failure = new Failure(
      'TABLE_LOCKED',
      'permanent',
      `The backup waited ${limitMs / 1_000} seconds (LOCK_WAIT_SECONDS) for ${lock}.`,
      { hint: 'End that session, or start the backup again when it has finished.' },
    );
    await observer.cancel(session.pid);
  });
  try {
    return await work();
  } catch (error) {
    throw failure ?? error;
  } finally {
    done.abort();
    await watching.catch(() => undefined);
  }
}

/** Returns the lock that a session has waited for too long; undefined if the signal is aborted before. */
async function waitTooLong(
  { pid }: Session,
  observer: Observer,
  limitMs: number,
  signal: AbortSignal,
): Promise<string | undefined> {
  let waitingSince: number | undefined;
  for (;;) {
    await sleep(Math.min(LOOK_EVERY_MS, limitMs), undefined, { signal }).catch(() => undefined);
    if (signal.aborted) return undefined;
    // A broken observer opens another connection.
    const lock = await observer.waitingFor(pid).catch(() => undefined);
    if (lock === undefined) waitingSince = undefined;
    else if (performance.now() - (waitingSince ??= performance.now()) >= limitMs) return lock;
  }
}
