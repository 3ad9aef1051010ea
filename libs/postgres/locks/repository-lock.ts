import { setTimeout as sleep } from 'node:timers/promises';
import { Failure } from '#common';
import type { Session } from '../connection/session.js';
import { OWN_ROLE } from '../connection/transactions.js';

/** Backups and verifications share the repository lock, a restore has it alone. */
export type LockMode = 'shared' | 'exclusive';

/**
 * One advisory lock for all repositories of a database. The number spells "snapshot" in ASCII; it only has to differ
 * from what other programs use, and stays, because older versions run beside newer ones during an upgrade.
 */
const REPOSITORY_LOCK = '8317692697400340340';

/**
 * The turn at the repository lock ("snapturn"). Polling has no queue: a restore keeps the turn to itself while it
 * waits, and backups must have it, for a moment, to take the repository lock. So they do not overtake it for ever.
 */
const TURN_LOCK = '8317692697417970286';

const POLL_EVERY_MS = 250;
const NAMED_HOLDERS = 3;

/** The sessions of a job that take the lock: see nameSession in libs/engine/shared/journal.ts. */
const JOB_SESSION = '^snapshotd (backup|restore|verify) [^ ]+ [0-9a-f]{8}$';

export interface LockWait {
  /** For how long sessions that are none of our jobs may be in the way: milliseconds. */
  timeoutMs: number;
  /** Told who is in the way, at each look. */
  onWait: (holders: string) => void;
  signal: AbortSignal;
}

/**
 * Waits for the repository lock and holds it until the session ends. It is a session lock and must be taken
 * before BEGIN: as the first statement of a REPEATABLE READ transaction it would come with a snapshot that is
 * old by then.
 * https://www.postgresql.org/docs/current/explicit-locking.html#ADVISORY-LOCKS
 * @throws Failure REPOSITORY_BUSY when others hold it for longer than the timeout; the signal's reason
 */
export async function takeRepositoryLock(session: Session, mode: LockMode, wait: LockWait): Promise<void> {
  const timeout = new LockTimeout(wait);
  for (let hasTurn = false; ;) {
    wait.signal.throwIfAborted();
    hasTurn ||= await tryLock(session, TURN_LOCK, mode);
    const taken = hasTurn && (await tryLock(session, REPOSITORY_LOCK, mode));
    const wanted = hasTurn ? REPOSITORY_LOCK : TURN_LOCK;
    if (hasTurn && (taken || mode === 'shared')) {
      await session.query(`SELECT pg_catalog.pg_advisory_unlock${suffix(mode)}($1)`, [TURN_LOCK]);
      hasTurn = false;
    }
    if (taken) return;
    timeout.test(await inTheWay(session, wanted, mode));
    await sleep(POLL_EVERY_MS, undefined, { signal: wait.signal }).catch(() => undefined);
  }
}

/**
 * Asks for a lock without waiting for it: anyone who may connect can hold it, so nobody waits for it without end. And a
 * connection on which something happens is not cut as an idle one.
 */
async function tryLock(session: Session, lock: string, mode: LockMode): Promise<boolean> {
  const [answer] = await session.query<{ taken: boolean }>(
    `SELECT pg_catalog.pg_try_advisory_lock${suffix(mode)}($1) AS taken`,
    [lock],
  );
  return answer?.taken === true;
}

/** Counts the time in which only sessions that are none of our jobs are in the way. */
class LockTimeout {
  private leftMs: number;
  private lastLook: number | undefined;

  constructor(private readonly wait: LockWait) {
    this.leftMs = wait.timeoutMs;
  }

  test(holders: Holder[]): void {
    const now = performance.now();
    if (holders.some(({ ours }) => ours)) this.lastLook = undefined;
    else {
      this.leftMs -= now - (this.lastLook ?? now);
      this.lastLook = now;
    }
    const names = describe(holders);
    if (this.leftMs < 0)
      throw new Failure(
        'REPOSITORY_BUSY',
        'permanent',
        `The repository lock was held for ${this.wait.timeoutMs / 1_000} seconds by ${names}, which is no job of snapshotd.`,
        { hint: 'End that session, or roll its prepared transaction back, and start again.' },
      );
    this.wait.onWait(names);
  }
}

interface Holder {
  pid: number | null;
  role: string | null;
  address: string | null;
  application: string | null;
  /** Whether it is a session of a job, of our own role. */
  ours: boolean;
}

/**
 * The sessions that hold a lock, or wait for it, in a mode that keeps ours out. Of other roles' sessions a role
 * without pg_read_all_stats sees no address. A prepared transaction has no session.
 */
function inTheWay(session: Session, lock: string, mode: LockMode): Promise<Holder[]> {
  return session.query<Holder>(
    `SELECT l.pid, coalesce(a.usename, x.owner) AS role, pg_catalog.host(a.client_addr) AS address,
            CASE WHEN x.gid IS NULL THEN a.application_name ELSE 'prepared transaction ' || x.gid END AS application,
            coalesce(${OWN_ROLE} AND a.application_name ~ $3, false) AS ours
       FROM pg_catalog.pg_locks AS l
       LEFT JOIN pg_catalog.pg_stat_activity AS a ON a.pid = l.pid
       LEFT JOIN pg_catalog.pg_locks AS t
              ON l.pid IS NULL AND t.pid IS NULL AND t.locktype = 'transactionid'
                 AND t.virtualtransaction = l.virtualtransaction
       LEFT JOIN pg_catalog.pg_prepared_xacts AS x ON x.transaction = t.transactionid
      WHERE l.locktype = 'advisory' AND l.objsubid = 1
        AND l.database = (SELECT d.oid FROM pg_catalog.pg_database AS d WHERE d.datname = pg_catalog.current_database())
        AND (l.classid::pg_catalog.int8 << 32) | l.objid::pg_catalog.int8 = $1::pg_catalog.int8
        AND (l.mode = 'ExclusiveLock' OR $2) AND l.pid IS DISTINCT FROM pg_catalog.pg_backend_pid()
      ORDER BY l.granted DESC, l.pid`,
    [lock, mode === 'exclusive', JOB_SESSION],
  );
}

function describe(holders: Holder[]): string {
  if (holders.length === 0) return 'another session';
  const names = holders.slice(0, NAMED_HOLDERS).map(({ pid, role, address, application }) => {
    const facts = [
      ...(role === null ? [] : [`role ${role}`]),
      ...(address === null ? [] : [`address ${address}`]),
      ...(pid === null ? [] : [`pid ${pid}`]),
    ];
    return `${application || 'a session without a name'} (${facts.join(', ')})`;
  });
  const more = holders.length - names.length;
  return names.join(', ') + (more > 0 ? ` and ${more} more` : '');
}

function suffix(mode: LockMode): string {
  return mode === 'shared' ? '_shared' : '';
}
