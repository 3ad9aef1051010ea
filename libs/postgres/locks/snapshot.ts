import { Failure } from '#common';
import type { Scope } from '#config';
import { sqlState } from '../connection/errors.js';
import { quoteLiteral, quoteTable } from '../connection/identifiers.js';
import { findMembers, type Members } from '../catalog/members.js';
import { expectReadable } from '../catalog/readable.js';
import { listTables, nameTables, type NamedTable, type Table } from '../catalog/tables.js';
import { type ConfigurationTable, listConfigurationTables } from '../extensions/configuration.js';
import type { Session } from '../connection/session.js';

/** One instant of the repository, held by an open transaction: all queries of the session see this instant. */
export interface Snapshot {
  /** The repository's relations. */
  members: Members;
  /** The tables, locked against being dropped, truncated or altered. */
  tables: Table[];
  /** The configuration tables of extensions. Those that can be read are locked too. */
  configuration: ConfigurationTable[];
  /** The name by which other sessions join it (SET TRANSACTION SNAPSHOT). */
  exportedName: string;
  /** The time of the instant, by the server's clock. */
  takenAt: Date;
  /** The position in the write-ahead log, for users who also archive the log. */
  walPosition: string;
  /** Such as "15.18 (Debian 15.18-0+deb12u1)". */
  serverVersion: string;
  serverEncoding: string;
  database: string;
}

/** The most attempts, each of which fails if a table is created or dropped between listing and locking. */
const MAX_TRIES = 20;

/** The steps at which tests can intervene. */
export type SnapshotStep = 'listed' | 'locked' | 'exported';

/**
 * Begins a transaction that sees the repository at one instant and locks its tables.
 *
 * The order matters. BEGIN and LOCK TABLE take no snapshot; the first query after them does. If the snapshot came first,
 * a TRUNCATE that commits before the lock would show an empty table, because it is not MVCC-safe
 * (https://www.postgresql.org/docs/current/mvcc-caveats.html). The list of tables, which is read before the transaction,
 * is read again inside it. If the two differ, or a schema of the scope is gone, this starts over.
 * @param pause called at each step, by tests only
 * @throws Failure REPOSITORY_CHANGING if the tables change faster than they can be locked; those of {@link expectReadable}
 */
export async function takeSnapshot(
  session: Session,
  scope: Scope,
  pause: (step: SnapshotStep) => Promise<void> = async () => {},
): Promise<Snapshot> {
  for (let tries = 0; tries < MAX_TRIES; tries++) {
    const before = await findMembers(session, scope);
    await expectReadable(session, before);
    const listed = await nameTables(session, before);
    const configuration = readable(await listConfigurationTables(session));
    await pause('listed');
    await session.query('BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY');
    if (await lockTables(session, [...listed, ...configuration])) {
      await pause('locked');
      const [instant] = await session.query<Omit<Snapshot, 'members' | 'tables' | 'configuration'>>(
        `SELECT pg_export_snapshot() AS "exportedName", statement_timestamp() AS "takenAt",
                CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END AS "walPosition",
                current_setting('server_version') AS "serverVersion",
                current_setting('server_encoding') AS "serverEncoding", current_database() AS database`,
      );
      await pause('exported');
      const members = await findMembers(session, scope);
      const tables = await listTables(session, members);
      const marked = await listConfigurationTables(session);
      const isSame = sameTables(listed, tables) && sameTables(configuration, readable(marked));
      if (instant !== undefined && members.missing.length === 0 && isSame) {
        await expectReadable(session, members);
        return { ...instant, members, tables, configuration: marked };
      }
    }
    await session.query('ROLLBACK');
  }
  throw new Failure(
    'REPOSITORY_CHANGING',
    'transient',
    `Cannot lock the tables of ${session.server}: others created or dropped tables during each of ${MAX_TRIES} attempts.`,
    { hint: 'Start the backup again when the migration has finished.' },
  );
}

/** The tables that a snapshot has locked. */
export function lockedTables({ tables, configuration }: Snapshot): NamedTable[] {
  return [...tables, ...readable(configuration)];
}

function readable(tables: ConfigurationTable[]): ConfigurationTable[] {
  return tables.filter(({ obstacle }) => obstacle === undefined);
}

/** A session in the queue before this one may wait for the snapshot's own locks, and so for the backup's end. */
const JOIN_LOCK_TIMEOUT = '1s';

/**
 * Begins a transaction on another session that sees the same instant. It locks all tables at once; otherwise it could
 * queue behind a waiting exclusive lock at each table that it reads.
 * https://www.postgresql.org/docs/current/sql-set-transaction.html
 * @returns false if it did not get the locks in time: then the session is unusable
 * @throws Failure REPOSITORY_CHANGING if it locked other tables
 */
export async function joinSnapshot(session: Session, snapshot: Snapshot): Promise<boolean> {
  await session.query('BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY');
  await session.query(`SET LOCAL lock_timeout = '${JOIN_LOCK_TIMEOUT}'`);
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
 * Checks that the tables' names still mean the locked tables. A lock on a table does not prevent renaming its schema: if
 * schemas have exchanged their names, other tables were read or written.
 * @param session one that has just locked the tables, or that has no transaction: others may use outdated names
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
      `The schema of ${moved[0]?.name} was renamed during the job: the name now means another table or none.`,
      { hint: 'Start again when the migration has finished.' },
    );
}

/** lock_not_available, out_of_memory: another session comes first, or the server's lock table is full. */
function isLockShortage(error: unknown): boolean {
  return ['55P03', '53200'].includes(sqlState(error) ?? '');
}

/** Locks tables against being dropped, truncated or altered. @returns false if one of them does not exist */
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
  const identities = (list: NamedTable[]) =>
    JSON.stringify(list.map(({ oid, schema, name }) => [oid, schema, name]));
  return identities(locked) === identities(tables);
}
