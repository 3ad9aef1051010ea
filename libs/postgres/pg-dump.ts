import { execFile, spawn } from 'node:child_process';
import { PassThrough, type Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { promisify } from 'node:util';
import { programEnvironment } from '#config';
import { Failure } from '#contracts';
import { quoteIdentifier } from './identifiers.js';
import type { Session } from './session.js';

const PROGRAM = 'pg_dump';
/** Others may wait for a lock that we keep from them; pg_dump would wait behind them, for us. */
const LOCK_WAIT_MS = 5_000;
/** pg_dump writes at its end, when it may not be its turn yet. What is longer waits in its pipe. */
const BUFFERED_BYTES = 16 * 1024 * 1024;
const STDERR_KEPT = 4_000;

export interface PgDump {
  /** Such as "15.18". */
  version: string;
  major: number;
}

/** Looks for pg_dump on PATH. @returns undefined when there is none */
export async function findPgDump(): Promise<PgDump | undefined> {
  let output: string;
  try {
    output = (await promisify(execFile)(PROGRAM, ['--version'], { env: programEnvironment() })).stdout;
  } catch {
    return undefined;
  }
  const [, version = '', major = '0'] = /\(PostgreSQL\) ((\d+)\S*)/.exec(output) ?? [];
  return { version, major: Number(major) };
}

/**
 * Why a pg_dump cannot read a server; undefined when it can: it must be of the server's major version or newer.
 * https://www.postgresql.org/docs/current/app-pgdump.html
 */
export function whyUnusable(program: PgDump | undefined, serverVersion: string): string | undefined {
  if (program === undefined) return 'there is no pg_dump on PATH';
  if (program.major >= parseInt(serverVersion)) return undefined;
  return `pg_dump on PATH is of version ${program.version}, and the server is ${serverVersion}`;
}

/**
 * Schemas whose definitions this role cannot read as pg_dump does, which locks their tables: those that it may not
 * use, and those with a table that it may not read.
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

/** Whether the role or the database limits the time of statements. A {@link Session} lifts that for itself alone. */
export async function limitsStatements(session: Session): Promise<boolean> {
  const [limit] = await session.query<{ limited: boolean }>(
    `SELECT reset_val <> '0' AS limited FROM pg_settings WHERE name = 'statement_timeout'`,
  );
  return limit?.limited ?? false;
}

export interface DefinitionsOptions {
  url: string;
  /** The major version of pg_dump. */
  major: number;
  /** Shown in pg_stat_activity. */
  applicationName: string;
  /** An exported snapshot, whose transaction stays open. */
  snapshot: string;
  /** Schemas that are none of the repository's business, or that the role may not read. */
  exclude: string[];
  /** Whether the role's and the database's own limit for statements must be lifted: see {@link limitsStatements}. */
  limited: boolean;
  signal: AbortSignal;
}

export interface Definitions {
  /** SQL that makes the database's objects anew, without their rows. */
  sql: Readable;
  /** Settles when pg_dump has ended; rejects with a Failure DEFINITIONS_FAILED that has its own words. */
  ended: Promise<void>;
}

/** Starts `pg_dump --schema-only` on an exported snapshot. The password goes by its environment: argv is public. */
export function dumpDefinitions({
  url,
  major,
  applicationName,
  snapshot,
  exclude,
  limited,
  signal,
}: DefinitionsOptions): Definitions {
  const { address, password } = forLibpq(url, major);
  const child = spawn(
    PROGRAM,
    [
      '--schema-only',
      '--no-password',
      `--snapshot=${snapshot}`,
      `--lock-wait-timeout=${LOCK_WAIT_MS}`,
      ...exclude.map((schema) => `--exclude-schema=${quoteIdentifier(schema)}`),
      `--dbname=${address}`,
    ],
    {
      env: {
        ...programEnvironment(),
        PGAPPNAME: applicationName,
        // pg_dump lifts such a limit itself, but by a statement that it may cut off already. Poolers refuse options.
        ...(limited && { PGOPTIONS: '-c statement_timeout=0' }),
        ...(password !== '' && { PGPASSWORD: password }),
      },
      stdio: ['ignore', 'pipe', 'pipe'],
      signal,
    },
  );
  let stderr = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr = (stderr + text).slice(0, STDERR_KEPT);
  });
  const exit = new Promise<void>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) => (code === 0 ? resolve() : reject(failed(stderr, code))));
  });
  const sql = new PassThrough({ highWaterMark: BUFFERED_BYTES });
  sql.on('error', () => undefined); // Also told by `ended`, if nobody has begun to read.
  // What it wrote is whole only if it ended well: until then the stream must not end either.
  const ended = Promise.all([exit, pipeline(child.stdout, sql, { end: false, signal })]).then(
    () => void sql.end(),
    (error: unknown) => {
      const reason: unknown = signal.aborted ? signal.reason : error;
      sql.destroy(reason as Error);
      throw reason;
    },
  );
  ended.catch(() => undefined); // Whoever reads the stream may hear of it first.
  return { sql, ended };
}

function failed(stderr: string, code: number | null): Failure {
  const said = stderr.replace(/^pg_dump: (error: )?/gm, '').trim();
  const permanent = /permission denied|unrecognized|invalid/.test(said);
  return new Failure(
    'DEFINITIONS_FAILED',
    permanent ? 'permanent' : 'transient',
    `pg_dump could not read the definitions: ${said === '' ? `it ended with ${code}` : said}.`,
    { hint: 'Mend that, or set BACKUP_DEFINITIONS=off for archives without definitions.' },
  );
}

/** What libpq knows of the parameters that node-postgres takes in a URL; it refuses others. */
const LIBPQ_PARAMETERS = new Set([
  'host',
  'port',
  'dbname',
  'user',
  'sslcert',
  'sslkey',
  'sslrootcert',
  'sslmode',
]);

/**
 * The same address in libpq's terms. For node-postgres `ssl=true` and all modes from `prefer` on mean that the
 * server's certificate is verified; libpq verifies only if told to, and knows the system's authorities from version
 * 16 on.
 * https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS
 */
function forLibpq(url: string, major: number): { address: string; password: string } {
  const address = new URL(url);
  const { searchParams } = address;
  const password = searchParams.get('password') ?? decodeURIComponent(address.password);
  const ssl = searchParams.get('ssl');
  const mode = searchParams.get('sslmode') ?? (ssl === 'true' || ssl === '1' ? 'require' : undefined);
  address.password = '';
  for (const name of [...searchParams.keys()]) if (!LIBPQ_PARAMETERS.has(name)) searchParams.delete(name);
  if (mode === 'no-verify') searchParams.set('sslmode', 'require');
  else if (mode !== undefined && mode !== 'disable') {
    const verifies = searchParams.has('sslrootcert') || major >= 16;
    searchParams.set('sslmode', verifies ? 'verify-full' : 'require');
    if (!searchParams.has('sslrootcert') && verifies) searchParams.set('sslrootcert', 'system');
  }
  return { address: address.href, password };
}
