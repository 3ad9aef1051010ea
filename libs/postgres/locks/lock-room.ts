import { Failure } from '#common';
import { isLockShortage, lockShortage } from '../connection/errors.js';
import type { Session } from '../connection/session.js';

/**
 * The number of locks beyond which a restore surely fails. In trials PostgreSQL 15 and 18 had room for 1.4 to 1.8 times
 * the locks that their settings and processes promise, and for up to 1,000 more. Between the two numbers it may fail.
 */
const CERTAINLY_TOO_MANY = (locks: number) => 2 * locks + 1_000;

interface LockRoom {
  /** An estimate of the locks that a restore of the tables takes. */
  needed: number;
  perTransaction: number;
  connections: number;
  prepared: number;
  /** PostgreSQL's own processes, which also add room for locks. */
  helpers: number;
}

/**
 * Warns if a restore of these tables needs more locks than the settings promise.
 * @param others the locks of sequences and of large objects, one each
 */
export async function warnOfLocks(
  session: Session,
  tables: { oid: number }[],
  others: number,
): Promise<string[]> {
  return warningOf(await lockRoom(session, tables, others));
}

/** Says how many locks a restore of these tables needs, and how many the settings promise. */
export async function describeLockRoom(session: Session, tables: { oid: number }[]): Promise<string> {
  const room = await lockRoom(session, tables, 0);
  return `A restore of all tables needs about ${room.needed} locks, and the settings promise ${promised(room)}.`;
}

/**
 * Refuses a verification if a restore of these tables would surely need more locks than the server has room for.
 * @param others the locks of sequences and of large objects, one each
 * @returns a warning, if it needs more than the settings promise
 * @throws Failure DATABASE_QUERY_FAILED
 */
export async function expectRoomForLocks(
  session: Session,
  tables: { oid: number }[],
  others: number,
): Promise<string[]> {
  const room = await lockRoom(session, tables, others);
  const { needed, perTransaction, connections, prepared, helpers } = room;
  if (needed > CERTAINLY_TOO_MANY(perTransaction * (connections + prepared + helpers)))
    throw lockShortage(session.server, { hint: `Nothing was changed. ${described(room)}` });
  return warningOf(room);
}

/**
 * Estimates the locks of a restore of these tables before it begins.
 * @param others the locks of sequences and of large objects, one each
 * @returns rethrows the restore's error; if the server's lock table was full, with the setting to change
 */
export async function adviseOnLocks(
  session: Session,
  tables: { oid: number }[],
  others: number,
): Promise<(error: unknown) => never> {
  const room = await lockRoom(session, tables, others);
  return (error) => {
    if (!(error instanceof Failure) || !isLockShortage(error) || room.needed <= promised(room)) throw error;
    const { confidential } = error;
    const hint = `Nothing was changed. ${described(room)}`;
    throw lockShortage(session.server, { hint, cause: error, confidential });
  };
}

function warningOf(room: LockRoom): string[] {
  return room.needed <= promised(room) ? [] : [`A restore may fail: ${described(room)}`];
}

function promised({ perTransaction, connections, prepared }: LockRoom): number {
  return perTransaction * (connections + prepared);
}

function described(room: LockRoom): string {
  const { needed, perTransaction, connections, prepared } = room;
  const enough = Math.ceil(needed / (connections + prepared));
  return `It needs about ${needed} locks, and max_locks_per_transaction (${perTransaction}) × (max_connections (${connections}) + max_prepared_transactions (${prepared})) promises ${promised(room)}. Set max_locks_per_transaction to ${enough} or more, and restart PostgreSQL.`;
}

/**
 * Counts the locks of a restore. TRUNCATE locks a table, its indexes, and its TOAST table with its index; dropping a
 * foreign key locks it and its four triggers.
 */
async function lockRoom(session: Session, tables: { oid: number }[], others: number): Promise<LockRoom> {
  const [room] = await session.query<LockRoom & Record<string, number>>(
    `SELECT (cardinality($1::oid[]) + (SELECT count(*) FROM pg_index WHERE indrelid = ANY ($1))
             + 2 * (SELECT count(*) FROM pg_class WHERE oid = ANY ($1) AND reltoastrelid <> 0)
             + 5 * (SELECT count(*) FROM pg_constraint WHERE contype = 'f' AND (conrelid = ANY ($1) OR confrelid = ANY ($1))))::float8
            + $2::float8 AS needed,
            current_setting('max_locks_per_transaction')::int AS "perTransaction",
            current_setting('max_connections')::int AS connections,
            current_setting('max_prepared_transactions')::int AS prepared,
            coalesce(current_setting('autovacuum_worker_slots', true), current_setting('autovacuum_max_workers'))::int
            + current_setting('max_worker_processes')::int + current_setting('max_wal_senders')::int + 1 AS helpers`,
    [tables.map(({ oid }) => oid), others],
  );
  if (room === undefined) throw new Error('PostgreSQL answered with no row');
  return room;
}
