import { createHash, randomBytes } from 'node:crypto';
import { Failure } from '#common';
import type { DatabaseProperties } from '../catalog/database-properties.js';
import { sqlState } from '../connection/errors.js';
import { quoteIdentifier, quoteLiteral } from '../connection/identifiers.js';
import type { Session } from '../connection/session.js';

/** The beginning of the names of databases that are not complete. */
const PREFIX = 'snapshotd_recover_';
const NAME = new RegExp(`^${PREFIX}[0-9a-f]{16}$`);

/**
 * Chooses a unique name for a database until it is complete. Its second half is a digest of the first: a name chosen by
 * hand does not fit, so that a crash between its creation and its mark leaves no doubt.
 */
export function temporaryDatabaseName(): string {
  const random = randomBytes(4).toString('hex');
  return PREFIX + random + checkOf(random);
}

/** Whether a name is that of a temporary database. */
export function isTemporaryDatabaseName(name: string): boolean {
  const digits = name.slice(PREFIX.length);
  return NAME.test(name) && digits.slice(8) === checkOf(digits.slice(0, 8));
}

function checkOf(random: string): string {
  return createHash('sha256').update(`snapshotd recover ${random}`).digest('hex').slice(0, 8);
}

/** The comment that marks a temporary database. */
function markOf(name: string): string {
  return `${name}: an unfinished database of snapshotd. "snapshotd recover --clean-up" drops it.`;
}

/** The locale of a new database: the archived one, or a libc locale of this name. */
export type NewLocale = DatabaseProperties['locale'] | string;

/** The properties that only CREATE DATABASE sets. */
export interface NewDatabase {
  encoding: string;
  locale: NewLocale | undefined;
  /** The server's default if missing. */
  tablespace?: string | undefined;
}

/**
 * Creates an empty, marked database that belongs to the session's role. The session holds an advisory lock on its name,
 * so that nobody drops it while it lives.
 * @param session with another database of the server
 * @returns its OID
 * @throws Failure TARGET_REFUSED if the server lacks the locale or the encoding
 */
export async function createTemporaryDatabase(
  session: Session,
  name: string,
  { encoding, locale, tablespace }: NewDatabase,
): Promise<string> {
  await session.query('SELECT pg_advisory_lock($1::bigint)', [lockOf(name)]);
  try {
    await session.query(
      `CREATE DATABASE ${quoteIdentifier(name)} TEMPLATE template0 ENCODING ${quoteLiteral(encoding)} ${localeClause(locale)} ${tablespace === undefined ? '' : `TABLESPACE ${quoteIdentifier(tablespace)}`}`,
    );
  } catch (error) {
    throw refusedLocale(error, encoding, locale) ?? (await mayNotCreate(session, error)) ?? error;
  }
  await session.query(`COMMENT ON DATABASE ${quoteIdentifier(name)} IS ${quoteLiteral(markOf(name))}`);
  const [created] = await session.query<{ oid: string }>(
    'SELECT oid::text AS oid FROM pg_database WHERE datname = $1',
    [name],
  );
  return created?.oid ?? '';
}

/** https://www.postgresql.org/docs/current/sql-createdatabase.html */
function localeClause(locale: NewLocale | undefined): string {
  if (locale === undefined) return '';
  if (typeof locale === 'string') return `LOCALE_PROVIDER libc LOCALE ${quoteLiteral(locale)}`;
  const { provider, collate, ctype, name, icuRules } = locale;
  return [
    `LOCALE_PROVIDER ${provider} LC_COLLATE ${quoteLiteral(collate)} LC_CTYPE ${quoteLiteral(ctype)}`,
    ...(provider !== 'libc' && name !== null
      ? [`${provider === 'icu' ? 'ICU_LOCALE' : 'BUILTIN_LOCALE'} ${quoteLiteral(name)}`]
      : []),
    ...(icuRules === null ? [] : [`ICU_RULES ${quoteLiteral(icuRules)}`]),
  ].join(' ');
}

/** wrong_object_type: an unknown libc locale; invalid_parameter_value: one that does not fit, or an unknown ICU locale. */
const LOCALE_REFUSED = new Set(['42809', '22023', '42704', '0A000']);

function refusedLocale(error: unknown, encoding: string, locale: NewLocale | undefined): Failure | undefined {
  if (!(error instanceof Failure) || !LOCALE_REFUSED.has(sqlState(error) ?? '')) return undefined;
  const wanted =
    locale === undefined || typeof locale === 'string'
      ? (locale ?? 'default')
      : (locale.name ?? locale.collate);
  return new Failure(
    'TARGET_REFUSED',
    'permanent',
    `The server cannot create a database with the encoding ${encoding} and the locale ${wanted}: ${error.message}`,
    {
      hint: 'Install the locale on the server, or choose one of its locales with --locale ("locale"). Another locale sorts texts differently.',
      cause: error,
    },
  );
}

/** The failure of a role without CREATEDB. */
async function mayNotCreate(session: Session, error: unknown): Promise<Failure | undefined> {
  if (!(error instanceof Failure) || error.code !== 'DATABASE_PERMISSION_DENIED') return undefined;
  const [me] = await session.query<{ role: string }>('SELECT current_user AS role');
  const role = me?.role ?? '';
  return new Failure(
    'DATABASE_PERMISSION_DENIED',
    'permanent',
    `The role ${role} may not create databases on ${session.server}.`,
    {
      hint: `Have a superuser run: ALTER ROLE ${quoteIdentifier(role)} CREATEDB; For drills, DRILL_URL can name another server and role.`,
      cause: error,
    },
  );
}

/** Takes the lock on a database's name. @returns false if another session of the same database has it */
export async function takeNameLock(session: Session, name: string): Promise<boolean> {
  const [lock] = await session.query<{ taken: boolean }>('SELECT pg_try_advisory_lock($1::bigint) AS taken', [
    lockOf(name),
  ]);
  return lock?.taken === true;
}

/** Whether a session of any database has the lock on a name: such locks hold for one database. */
async function isNameLocked(session: Session, name: string): Promise<boolean> {
  const rows = await session.query(
    `SELECT FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1 AND (classid::bigint << 32) | objid::bigint = $1::bigint`,
    [lockOf(name)],
  );
  return rows.length > 0;
}

/** The key of the advisory lock on a database's name. */
function lockOf(name: string): string {
  return createHash('sha256').update(`snapshotd recover ${name}`).digest().readBigInt64BE().toString();
}

/**
 * Drops a temporary database with all of its sessions. Leaves any other database alone: name, mark and owner must fit. A
 * crash between its creation and its mark leaves one without a mark.
 * @returns whether it is gone
 */
export async function dropTemporaryDatabase(session: Session, name: string): Promise<boolean> {
  if (!isTemporaryDatabaseName(name)) return false;
  const [found] = await session.query<{ owned: boolean; comment: string | null }>(
    `SELECT datdba = (SELECT oid FROM pg_roles WHERE rolname = current_user) AS owned, shobj_description(oid, 'pg_database') AS comment
       FROM pg_database WHERE datname = $1`,
    [name],
  );
  if (found === undefined) return true;
  if (!found.owned || (found.comment !== null && found.comment !== markOf(name))) return false;
  await session.query(`DROP DATABASE IF EXISTS ${quoteIdentifier(name)} WITH (FORCE)`);
  return true;
}

/**
 * Drops the temporary databases of this role that nobody works on.
 * @param session with the database that recovers connect to first
 * @returns the names of the dropped ones, and of those that live
 */
export async function dropAbandonedDatabases(
  session: Session,
): Promise<{ dropped: string[]; inUse: string[] }> {
  const rows = await session.query<{ name: string; sessions: number }>(
    `SELECT d.datname::text AS name, (SELECT count(*)::int FROM pg_stat_activity a WHERE a.datid = d.oid) AS sessions
       FROM pg_database d WHERE starts_with(d.datname, '${PREFIX}') ORDER BY 1`,
  );
  const dropped: string[] = [];
  const inUse: string[] = [];
  for (const { name, sessions } of rows) {
    if (!isTemporaryDatabaseName(name)) continue;
    if (sessions > 0 || (await isNameLocked(session, name))) inUse.push(name);
    else if (await dropTemporaryDatabase(session, name)) dropped.push(name);
  }
  return { dropped, inUse };
}

/** SQL: whether the session's database holds an object that template0 does not have. */
const NORMAL_OBJECTS = [
  'pg_class',
  'pg_proc',
  'pg_type',
  'pg_namespace',
  'pg_extension',
  'pg_largeobject_metadata',
  'pg_event_trigger',
  'pg_publication',
  'pg_foreign_data_wrapper',
  'pg_language',
  'pg_cast',
  'pg_am',
  'pg_operator',
  'pg_collation',
  'pg_conversion',
  'pg_ts_config',
  'pg_ts_dict',
  'pg_opclass',
  'pg_opfamily',
  'pg_transform',
  'pg_default_acl',
]
  // FirstNormalObjectId in access/transam.h
  .map((catalog) => `EXISTS (SELECT FROM pg_catalog.${catalog} WHERE oid >= 16384)`)
  .join(' OR ');

/** Whether a database has nothing that template0 does not have. */
export async function isEmptyDatabase(session: Session): Promise<boolean> {
  const [found] = await session.query<{ used: boolean }>(
    `SELECT ${NORMAL_OBJECTS} OR EXISTS (SELECT FROM pg_subscription WHERE subdbid = (SELECT oid FROM pg_database WHERE datname = current_database())) AS used`,
  );
  return found?.used === false;
}
