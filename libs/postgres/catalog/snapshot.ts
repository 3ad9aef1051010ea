import { Failure } from '#common';
import { sqlState } from '../connection/errors.js';
import { quoteLiteral, quoteTable } from '../connection/identifiers.js';
import { listReadableTables, listTables, type NamedTable, type Table } from './tables.js';
import type { Session } from '../connection/session.js';

/** One instant of the repository, held by an open transaction: everything the session reads is as of then. */
export interface Snapshot {
  /** The tables, locked against being dropped, truncated or altered. */
  tables: Table[];
  /** The name under which other sessions can read the same instant (SET TRANSACTION SNAPSHOT). */
  exportedName: string;
  /** When the instant was, by the server's clock. */
  takenAt: Date;
  /** The write-ahead log's position: a place in time for who keeps the log too. */
  walPosition: string;
  /** Such as "15.18 (Debian 15.18-0+deb12u1)". */
  serverVersion: string;
  serverEncoding: string;
  database: string;
}

/** How often tables may appear or vanish between listing and locking before this is given up. */
const MAX_TRIES = 20;

/** Where tests can step in between; nobody else passes it. */
export type SnapshotStep = 'listed' | 'locked' | 'exported';

/**
 * Begins a transaction that sees the repository as it is at one instant, and in which nobody can take a
 * table away.
 *
 * The order is what makes it right. BEGIN and LOCK TABLE take no snapshot; it is taken by the first query
 * after them. Were it taken first, a TRUNCATE that commits before the lock would show an empty table: it is
 * not MVCC-safe (https://www.postgresql.org/docs/current/mvcc-caveats.html). And since the list of tables had
 * to be read before, it is read again inside, with all that can no longer change: if it names others, all starts over.
 * @throws Failure REPOSITORY_CHANGING when the tables change faster than they can be locked
 */
export async function takeSnapshot(
  session: Session,
  schemas: string[],
  pause: (step: SnapshotStep) => Promise<void> = async () => {},
): Promise<Snapshot> {
  for (let tries = 0; tries < MAX_TRIES; tries++) {
    const listed = await listReadableTables(session, schemas);
    await pause('listed');
    await session.query('BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY');
    if (await lockTables(session, listed)) {
      await pause('locked');
      const [instant] = await session.query<Omit<Snapshot, 'tables'>>(
        `SELECT pg_export_snapshot() AS "exportedName", statement_timestamp() AS "takenAt",
                CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END AS "walPosition",
                current_setting('server_version') AS "serverVersion",
                current_setting('server_encoding') AS "serverEncoding", current_database() AS database`,
      );
      await pause('exported');
      const tables = await listTables(session, schemas);
      if (instant !== undefined && sameTables(listed, tables)) return { ...instant, tables };
    }
    await session.query('ROLLBACK');
  }
  throw new Failure(
    'REPOSITORY_CHANGING',
    'transient',
    `Tables of ${schemas.join(', ')} were created or dropped each of the ${MAX_TRIES} times that they were to be locked.`,
    { hint: 'Start the backup again when the migration that does it is over.' },
  );
}

/** While a lane waits for a lock, the snapshot's own locks may be what the one before it in the queue waits for. */
const LANE_LOCK_TIMEOUT = '1s';

/**
 * Begins a transaction on another session that sees the same instant. It takes locks of its own: without them it
 * would meet those that wait for an exclusive lock, one table after the other.
 * https://www.postgresql.org/docs/current/sql-set-transaction.html
 * @returns false when the locks cannot be had soon: the session is then of no use
 * @throws Failure REPOSITORY_CHANGING when they are locks of other tables
 */
export async function joinSnapshot(session: Session, snapshot: Snapshot): Promise<boolean> {
  await session.query('BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY');
  await session.query(`SET LOCAL lock_timeout = '${LANE_LOCK_TIMEOUT}'`);
  try {
    await lockTables(session, snapshot.tables);
  } catch (error) {
    if (isLockShortage(error)) return false;
    throw error;
  }
  await session.query(`SET TRANSACTION SNAPSHOT ${quoteLiteral(snapshot.exportedName)}`);
  await session.query('SET LOCAL lock_timeout = 0');
  await expectSameTables(session, snapshot.tables);
  return true;
}

/**
 * Makes sure that the tables' names still mean the locked tables. A lock keeps a table's name, but not its schema's: where
 * one schema has taken the name of another, other tables were read or written.
 * @param session one that has just locked them, or that has no transaction: others may hear late of a new name
 * @throws Failure REPOSITORY_CHANGING
 */
export async function expectSameTables(session: Session, tables: NamedTable[]): Promise<void> {
  // Unlike a query of pg_class, to_regclass sees what was committed after the snapshot.
  const moved = await session.query<{ name: string }>(
    `SELECT name FROM unnest($1::oid[], $2::text[]) AS known (oid, name) WHERE to_regclass(name) IS DISTINCT FROM oid`,
    [tables.map(({ oid }) => oid), tables.map(quoteTable)],
  );
  if (moved.length > 0)
    throw new Failure(
      'REPOSITORY_CHANGING',
      'transient',
      `A schema was renamed meanwhile: ${moved[0]?.name} is another table now, or none.`,
      { hint: 'Start again when the migration that does it is over.' },
    );
}

/** lock_not_available, out_of_memory: somebody is before us, or the server has no room for more locks. */
function isLockShortage(error: unknown): boolean {
  return ['55P03', '53200'].includes(sqlState(error) ?? '');
}

/** @returns false when a table of the list is gone */
async function lockTables(session: Session, tables: NamedTable[]): Promise<boolean> {
  if (tables.length === 0) return true;
  try {
    await session.query(
      `LOCK TABLE ${tables.map((table) => `ONLY ${quoteTable(table)}`).join(', ')} IN ACCESS SHARE MODE`,
    );
    return true;
  } catch (error) {
    if (isUndefinedTable(error)) return false;
    throw error;
  }
}

/** undefined_table, invalid_schema_name */
function isUndefinedTable(error: unknown): boolean {
  return ['42P01', '3F000'].includes(sqlState(error) ?? '');
}

function sameTables(locked: NamedTable[], tables: NamedTable[]): boolean {
  const identities = (tables: NamedTable[]) =>
    JSON.stringify(tables.map(({ oid, schema, name }) => [oid, schema, name]));
  return identities(locked) === identities(tables);
}
