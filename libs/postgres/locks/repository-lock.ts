import { setTimeout as sleep } from 'node:timers/promises';
import { Failure } from '#common';
import type { Session } from '../connection/session.js';
import { OWN_ROLE } from '../connection/transactions.js';

/** Backups and verifications share the repository lock; a restore holds it exclusively. */
export type LockMode = 'shared' | 'exclusive';

/**
 * One advisory lock for all repositories of a database. The number spells "snapshot" in ASCII, and must differ from
 * other programs' numbers. It never changes, because versions run side by side during an upgrade.
 */
const REPOSITORY_LOCK = '8317692697400340340';

/**
 * The advisory lock that queues for the repository lock ("snapturn"), because polling has no queue: a waiting restore
 * holds it, and a backup must hold it for a moment to take the repository lock. So backups cannot starve a restore.
 */
const TURN_LOCK = '8317692697417970286';

const POLL_EVERY_MS = 250;
const NAMED_HOLDERS = 3;

/** The names of the sessions that take the lock: see nameSession in libs/engine/shared/journal.ts. */
const JOB_SESSION = '^snapshotd (backup|restore|verify) [^ ]+ [0-9a-f]{8}$';

export interface LockWait {
  /** How long sessions that are not snapshotd's jobs may hold the lock: milliseconds. */
  timeoutMs: number;
  /** Called at each poll with the sessions that hold the lock. */
  onWait: (holders: string) => void;
  signal: AbortSignal;
}

/**
 * Waits for the repository lock, which the session then holds until it ends. Take it before BEGIN: as the first statement
 * of a REPEATABLE READ transaction it would take a snapshot before it waits.
 * https://www.postgresql.org/docs/current/explicit-locking.html#ADVISORY-LOCKS
 * @throws Failure REPOSITORY_BUSY if another program holds it for longer than the timeout; the signal's reason
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
    timeout.test(await listHolders(session, wanted, mode));
    await sleep(POLL_EVERY_MS, undefined, { signal: wait.signal }).catch(() => undefined);
  }
}

/**
 * Takes a lock if it is free. Polling instead of waiting allows a timeout, because any role that may connect can hold the
 * lock, and keeps proxies from cutting an idle connection.
 */
async function tryLock(session: Session, lock: string, mode: LockMode): Promise<boolean> {
  const [answer] = await session.query<{ taken: boolean }>(
    `SELECT pg_catalog.pg_try_advisory_lock${suffix(mode)}($1) AS taken`,
    [lock],
  );
  return answer?.taken === true;
}

/** Counts the time in which only sessions that are not snapshotd's jobs hold the lock. */
class LockTimeout {
  private leftMs: number;
  private lastPoll: number | undefined;

  constructor(private readonly wait: LockWait) {
    this.leftMs = wait.timeoutMs;
  }

  test(holders: Holder[]): void {
    const now = performance.now();
    if (holders.some(({ ours }) => ours)) this.lastPoll = undefined;
    else {
      this.leftMs -= now - (this.lastPoll ?? now);
      this.lastPoll = now;
    }
    const names = describe(holders);
    if (this.leftMs < 0)
      throw new Failure(
        'REPOSITORY_BUSY',
        'permanent',
        `The repository lock was held for ${this.wait.timeoutMs / 1_000} seconds by ${names}, which is no job of snapshotd.`,
        { hint: 'End that session or roll back its prepared transaction, and start again.' },
      );
    this.wait.onWait(names);
  }
}

interface Holder {
  pid: number | null;
  role: string | null;
  address: string | null;
  application: string | null;
  /** Whether it is a session of a job with our role. */
  ours: boolean;
}

/**
 * Lists the sessions that hold a lock or wait for it in a mode that conflicts with ours. Without pg_read_all_stats a
 * role does not see the addresses of other roles' sessions. A prepared transaction has no session.
 */
function listHolders(session: Session, lock: string, mode: LockMode): Promise<Holder[]> {
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
