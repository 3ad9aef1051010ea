import { lockShortage } from '../connection/errors.js';
import type { Session } from '../connection/session.js';

/** PostgreSQL 15 and 18 were seen to have room for 1.55 to 2.4 times the locks that their settings promise. */
const MORE_THAN_PROMISED = 1.5;

interface LockRoom {
  /** Locks that a restore of the tables takes, about. */
  needed: number;
  perTransaction: number;
  connections: number;
  prepared: number;
  /** PostgreSQL's own processes, which count too. */
  helpers: number;
}

/** Says if a restore of these tables needs more locks than the settings promise. */
export async function warnOfLocks(
  session: Session,
  tables: { oid: number }[],
  sequences: number,
): Promise<string[]> {
  const room = await lockRoom(session, tables, sequences);
  const { needed, perTransaction, connections, prepared } = room;
  if (needed <= perTransaction * (connections + prepared)) return [];
  return [`A restore may fail: ${described(room)}`];
}

/**
 * Refuses if a restore of these tables surely needs more locks than the server has room for, as the restore would.
 * @throws Failure DATABASE_QUERY_FAILED
 */
export async function expectRoomForLocks(
  session: Session,
  tables: { oid: number }[],
  sequences: number,
): Promise<void> {
  const room = await lockRoom(session, tables, sequences);
  const { needed, perTransaction, connections, prepared, helpers } = room;
  if (needed > perTransaction * (connections + prepared + helpers) * MORE_THAN_PROMISED)
    throw lockShortage(session.server, { hint: `Nothing was changed. ${described(room)}` });
}

function described({ needed, perTransaction, connections, prepared }: LockRoom): string {
  const enough = Math.ceil(needed / (connections + prepared));
  return `It needs about ${needed} locks, and max_locks_per_transaction (${perTransaction}) × (max_connections (${connections}) + max_prepared_transactions (${prepared})) promises ${perTransaction * (connections + prepared)}. Set max_locks_per_transaction to ${enough} or more, and restart PostgreSQL.`;
}

/**
 * TRUNCATE locks a table, its indexes, and the table of its long values with its index; a foreign key that is dropped is
 * locked with its four triggers.
 */
async function lockRoom(session: Session, tables: { oid: number }[], sequences: number): Promise<LockRoom> {
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
    [tables.map(({ oid }) => oid), sequences],
  );
  if (room === undefined) throw new Error('PostgreSQL answered with no row');
  return room;
}
