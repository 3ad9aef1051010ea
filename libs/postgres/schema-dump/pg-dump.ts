import { execFile, spawn } from 'node:child_process';
import { resolve } from 'node:path';
import { PassThrough, type Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { promisify } from 'node:util';
import type pg from 'pg';
import { programEnvironment } from '#config';
import { Failure } from '#common';
import { quoteIdentifier } from '../connection/identifiers.js';
import { resolvedSettings } from '../connection/pg-internals.js';
import type { Session } from '../connection/session.js';

const PROGRAM = 'pg_dump';
/** Bytes of pg_dump's output that wait here until the archive takes them. More output waits in its pipe. */
const BUFFERED_BYTES = 16 * 1024 * 1024;
const STDERR_KEPT = 4_000;
const CONNECT_TIMEOUT_SECONDS = 10;

/**
 * The first minor release of each major version in which names in a database cannot add psql commands to the output.
 * Later major versions never had that fault, except the first previews of 18.
 * https://www.postgresql.org/support/security/CVE-2025-8714/ and CVE-2025-8715
 */
const SAFE_SINCE = new Map([
  [14, 19],
  [15, 14],
  [16, 10],
  [17, 6],
]);
/** The first major version whose libpq knows `sslrootcert=system`. */
const KNOWS_SYSTEM_AUTHORITIES = 16;
const UNSAFE_PREVIEW = /^18(devel|beta[12])/;

export interface PgDump {
  /** Such as "15.20". */
  version: string;
  major: number;
}

/**
 * Finds pg_dump on PATH. Debian's is a wrapper, which chooses a version by the host in the environment.
 * @returns undefined if there is none
 */
export async function findPgDump(url: string, client: pg.Client): Promise<PgDump | undefined> {
  const env = { ...programEnvironment(), ...libpqEnvironment(url, client) };
  let output: string;
  try {
    output = (await promisify(execFile)(PROGRAM, ['--version'], { env })).stdout;
  } catch {
    return undefined;
  }
  const [, version = output.trim(), major = '0'] = /\(PostgreSQL\) ((\d+)\S*)/.exec(output) ?? [];
  return { version, major: Number(major) };
}

/**
 * Returns why a pg_dump cannot be used. It must have the server's major version or a newer one, its output must be safe to
 * run, and its connection must verify as much as the worker's own.
 * https://www.postgresql.org/docs/current/app-pgdump.html
 * @returns undefined if it can be used
 */
export function whyUnusable(
  program: PgDump | undefined,
  serverVersion: string,
  tls: ConnectionTls,
): string | undefined {
  if (program === undefined) return 'there is no pg_dump on PATH';
  const found = `pg_dump on PATH has the version ${program.version}`;
  if (program.major < parseInt(serverVersion)) return `${found}, and the server is ${serverVersion}`;
  if (!isSafe(program))
    return `${found}: names in the database can add psql commands to its output (CVE-2025-8714, CVE-2025-8715); 14.19, 15.14, 16.10, 17.6 and newer versions are safe`;
  if (
    tls.mode.startsWith('verify') &&
    tls.authority === undefined &&
    program.major < KNOWS_SYSTEM_AUTHORITIES
  )
    return `${found}, which cannot verify the server's certificate as the worker does; set sslrootcert in REPOSITORY_URL to the authority's file, or install pg_dump 16 or newer`;
  return undefined;
}

function isSafe({ version, major }: PgDump): boolean {
  const since = SAFE_SINCE.get(major);
  if (since === undefined) return major > Math.max(...SAFE_SINCE.keys()) && !UNSAFE_PREVIEW.test(version);
  return Number(/^\d+\.(\d+)/.exec(version)?.[1] ?? -1) >= since;
}

/** How strictly a connection verifies the server, in libpq's terms. */
export interface ConnectionTls {
  /** https://www.postgresql.org/docs/current/libpq-ssl.html#LIBPQ-SSL-PROTECTION */
  mode: 'disable' | 'require' | 'verify-ca' | 'verify-full';
  /** The file of the only trusted authority; missing if the system's authorities are trusted. */
  authority?: string;
}

/**
 * Returns what node-postgres verifies, which differs from libpq: unless `uselibpqcompat` is set, `prefer`, `require` and
 * even unknown modes verify the certificate.
 */
export function connectionTls(url: string, client: pg.Client): ConnectionTls {
  const { ssl } = resolvedSettings(client);
  if (ssl === false) return { mode: 'disable' };
  const options = ssl === true ? {} : ssl;
  if (options.rejectUnauthorized === false) return { mode: 'require' };
  const mode = options.checkServerIdentity === undefined ? 'verify-full' : 'verify-ca';
  const authority = parameterOf(url, 'sslrootcert');
  if (options.ca === undefined || authority === undefined) return { mode };
  // For libpq the plain word "system" means the system's authorities.
  return { mode, authority: resolve(authority) };
}

/**
 * Lists the schemas that this role cannot dump: those that it may not use, and those with a table that it may not read,
 * because pg_dump locks all tables.
 */
export async function listClosedSchemas(session: Session): Promise<string[]> {
  const rows = await session.query<{ name: string }>(
    `SELECT n.nspname AS name FROM pg_namespace n
      WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
        AND (NOT has_schema_privilege(n.oid, 'USAGE')
             OR EXISTS (SELECT FROM pg_class c WHERE c.relnamespace = n.oid AND c.relkind IN ('r', 'p')
                           AND NOT has_table_privilege(c.oid, 'SELECT')))
      ORDER BY n.nspname COLLATE "C"`,
  );
  return rows.map(({ name }) => name);
}

/** Whether the role or the database limits the time of statements. A {@link Session} removes the limit for itself only. */
export async function limitsStatements(session: Session): Promise<boolean> {
  const [limit] = await session.query<{ limited: boolean }>(
    `SELECT reset_val <> '0' AS limited FROM pg_settings WHERE name = 'statement_timeout'`,
  );
  return limit?.limited ?? false;
}

export interface SchemaDumpOptions {
  /** The session that exported the snapshot and its URL: pg_dump connects in the same way. */
  session: Session;
  url: string;
  /** Shown in pg_stat_activity. */
  applicationName: string;
  /** An exported snapshot, whose transaction stays open. */
  snapshot: string;
  /** Schemas outside the repository, or that the role may not read. */
  exclude: string[];
  /** Whether to remove the statement timeout of the role and the database: see {@link limitsStatements}. */
  limited: boolean;
  signal: AbortSignal;
}

export interface SchemaDump {
  /** SQL that creates the database's objects, without rows. */
  sql: Readable;
  /**
   * Resolves when the SQL is complete or the buffer is full. pg_dump begins to write when it has read the whole catalog,
   * so that only its own death can fail it later. Rejects like `ended`.
   */
  read: Promise<void>;
  /** Settles when pg_dump has ended; rejects with a Failure DEFINITIONS_FAILED that quotes its error. */
  ended: Promise<void>;
  /** Ends pg_dump: `ended` rejects with the reason. */
  stop: (reason: Failure) => void;
}

/** Starts `pg_dump --schema-only` on an exported snapshot. */
export function dumpSchema({ signal, ...options }: SchemaDumpOptions): SchemaDump {
  const stopped = new AbortController();
  const either = AbortSignal.any([signal, stopped.signal]);
  const sql = new PassThrough({ highWaterMark: BUFFERED_BYTES });
  sql.on('error', () => undefined); // Without a reader, `ended` alone reports it.
  let full = () => {};
  const filled = new Promise<void>((settle) => (full = settle));
  const ended = runPgDump(options, sql, full, either).catch((error: unknown) => {
    const reason: unknown = either.aborted ? either.reason : error;
    sql.destroy(reason as Error);
    throw reason;
  });
  const read = Promise.race([ended, filled]);
  for (const promise of [ended, read]) promise.catch(() => undefined); // The stream may report the error first.
  return { sql, read, ended, stop: (reason) => stopped.abort(reason) };
}

/** Runs pg_dump until all of its output is in `sql`. @throws Failure DEFINITIONS_FAILED */
async function runPgDump(
  { session, url, applicationName, snapshot, exclude, limited }: Omit<SchemaDumpOptions, 'signal'>,
  sql: PassThrough,
  full: () => void,
  signal: AbortSignal,
): Promise<void> {
  const child = start(
    [
      '--schema-only',
      '--no-password',
      `--snapshot=${snapshot}`,
      // One pattern for each schema uses an index; a pattern that lists many names takes minutes.
      ...exclude.map((schema) => `--exclude-schema=${quoteIdentifier(schema)}`),
    ],
    {
      ...programEnvironment(),
      ...libpqEnvironment(url, session.client),
      PGAPPNAME: applicationName,
      // pg_dump removes the limit by a statement that the limit can cancel. Only set if needed: poolers refuse options.
      ...(limited && { PGOPTIONS: '-c statement_timeout=0' }),
    },
    signal,
  );
  let stderr = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr = (stderr + text).slice(0, STDERR_KEPT);
  });
  const exit = new Promise<void>((settle, reject) => {
    child.once('error', (error) => reject(notStarted(error)));
    child.once('close', (code, killedBy) =>
      code === 0 ? settle() : reject(failed(stderr, killedBy ?? code)),
    );
  });
  let length = 0;
  child.stdout.on('data', (bytes: Buffer) => {
    length += bytes.length;
    if (length >= BUFFERED_BYTES) full();
  });
  // The stream may end only after pg_dump has succeeded: until then its output may be incomplete.
  await Promise.all([exit, pipeline(child.stdout, sql, { end: false, signal })]);
  sql.end();
}

function start(args: string[], env: Record<string, string>, signal: AbortSignal) {
  try {
    return spawn(PROGRAM, args, { env, stdio: ['ignore', 'pipe', 'pipe'], signal });
  } catch (error) {
    throw notStarted(error as Error, args.length);
  }
}

/**
 * Returns a session's connection as libpq's variables, so that pg_dump reaches the same server and verifies as much.
 * Variables need no quoting, and unlike arguments other users cannot read them.
 * https://www.postgresql.org/docs/current/libpq-envars.html
 */
function libpqEnvironment(url: string, client: pg.Client): Record<string, string> {
  const { host, port, user, database, password, connection } = resolvedSettings(client);
  const { mode, authority } = connectionTls(url, client);
  const verifies = mode.startsWith('verify');
  const variables = {
    PGHOST: host,
    // The session's own address, because a name may have several. Missing for a Unix socket.
    PGHOSTADDR: connection.stream.remoteAddress,
    PGPORT: String(port),
    PGUSER: user,
    PGDATABASE: database,
    PGPASSWORD: password,
    PGSSLMODE: mode,
    PGSSLROOTCERT: verifies ? (authority ?? 'system') : undefined,
    PGSSLCERT: parameterOf(url, 'sslcert'),
    PGSSLKEY: parameterOf(url, 'sslkey'),
    PGCHANNELBINDING: parameterOf(url, 'channel_binding'),
    // Otherwise a Kerberos ticket replaces TLS.
    PGGSSENCMODE: 'disable',
    PGCONNECT_TIMEOUT: String(CONNECT_TIMEOUT_SECONDS),
  };
  return Object.fromEntries(
    Object.entries(variables).flatMap(([name, value]) => (value ? [[name, value]] : [])),
  );
}

/** Returns a parameter of the URL. As in node-postgres the last one counts. */
function parameterOf(url: string, name: string): string | undefined {
  return new URL(url).searchParams.getAll(name).at(-1);
}

function notStarted(error: Error, args = 0): Failure {
  const reason =
    (error as NodeJS.ErrnoException).code === 'E2BIG'
      ? `the names of ${args} schemas that the role may not read are too long for its arguments`
      : error.message;
  return new Failure('DEFINITIONS_FAILED', 'permanent', `Cannot start pg_dump: ${reason}.`, {
    hint: HINT,
    cause: error,
  });
}

const HINT =
  'Fix that, or set BACKUP_DEFINITIONS=auto for archives that name the missing schema definitions.';

function failed(stderr: string, end: number | string | null): Failure {
  const said = stderr.replace(/^pg_dump: (error: )?/gm, '').trim();
  const permanent = /permission denied|unrecognized|invalid/.test(said);
  return new Failure(
    'DEFINITIONS_FAILED',
    permanent ? 'permanent' : 'transient',
    `pg_dump failed to read the schema definitions: ${said === '' ? `it ended with ${end}` : said}.`,
    { hint: HINT },
  );
}
