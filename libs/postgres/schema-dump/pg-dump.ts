import { execFile, spawn } from 'node:child_process';
import { resolve } from 'node:path';
import type { Readable } from 'node:stream';
import { promisify } from 'node:util';
import type pg from 'pg';
import { programEnvironment } from '#config';
import { Failure } from '#common';
import { resolvedSettings } from '../connection/pg-internals.js';
import type { Session } from '../connection/session.js';

const PROGRAM = 'pg_dump';
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

export interface NativeDumpOptions {
  /** A session with the server, and the URL that it was opened with: pg_dump connects as it did. */
  session: Session;
  url: string;
  /** Shown in pg_stat_activity. */
  applicationName: string;
  args: string[];
}

/** @returns what pg_dump wrote @throws Failure DEFINITIONS_FAILED, or the signal's reason */
export async function runNativePgDump(
  { session, url, applicationName, args }: NativeDumpOptions,
  signal: AbortSignal,
): Promise<Buffer> {
  const limited = await limitsStatements(session);
  signal.throwIfAborted();
  const child = start(
    ['--no-password', ...args],
    {
      ...programEnvironment(),
      ...libpqEnvironment(url, session.client),
      PGAPPNAME: applicationName,
      // pg_dump removes the limit by a statement that the limit can cancel. Only set if needed: poolers refuse options.
      ...(limited && { PGOPTIONS: '-c statement_timeout=0' }),
    },
    signal,
  );
  const errors = new Errors();
  child.stderr.setEncoding('utf8').on('data', (text: string) => errors.add(text));
  const exit = new Promise<void>((done, reject) => {
    child.once('error', (error) => reject(signal.aborted ? (signal.reason as Error) : notStarted(error)));
    child.once('close', (code, killedBy) =>
      code === 0 ? done() : reject(dumpFailure(errors.words, killedBy ?? code)),
    );
  });
  const [text] = await Promise.all([read(child.stdout), exit]);
  return text;
}

/** The errors among pg_dump's words: `--verbose` reports every step, too. */
class Errors {
  private kept = '';
  private line = '';
  private keeps = true;

  add(words: string): void {
    const lines = (this.line + words).split('\n');
    this.line = lines.pop() ?? '';
    for (const line of lines) {
      // A message of several lines goes on after its first one.
      if (line.startsWith('pg_dump: ')) this.keeps = /^pg_dump: (error|detail|hint): /.test(line);
      if (this.keeps) this.kept = `${this.kept}${line}\n`.slice(0, STDERR_KEPT);
    }
  }

  get words(): string {
    return this.kept + (this.keeps ? this.line : '');
  }
}

/** Whether the role or the database limits the time of statements. A {@link Session} lifts that for itself alone. */
async function limitsStatements(session: Session): Promise<boolean> {
  const [limit] = await session.query<{ limited: boolean }>(
    `SELECT reset_val <> '0' AS limited FROM pg_settings WHERE name = 'statement_timeout'`,
  );
  return limit?.limited ?? false;
}

/** It is held as a whole, and two or three times while it is cleaned. */
export const MAX_TEXT_BYTES = 256 * 1024 * 1024;

/** Destroys the stream of a text that is too long, which ends pg_dump. */
async function read(stdout: Readable): Promise<Buffer> {
  const pieces: Buffer[] = [];
  let length = 0;
  for await (const piece of stdout as AsyncIterable<Buffer>) {
    pieces.push(piece);
    length += piece.length;
    if (length > MAX_TEXT_BYTES) throw tooLong();
  }
  return Buffer.concat(pieces);
}

export function tooLong(): Failure {
  return new Failure(
    'DEFINITIONS_FAILED',
    'permanent',
    `The schema definitions are longer than ${MAX_TEXT_BYTES} bytes.`,
    { hint: HINT },
  );
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
  const isTooLong = (error as NodeJS.ErrnoException).code === 'E2BIG';
  const reason = isTooLong
    ? `its ${args} arguments, which name the schemas that the role may not read, are too long`
    : error.message;
  return new Failure('DEFINITIONS_FAILED', 'permanent', `Cannot start pg_dump: ${reason}.`, {
    hint: isTooLong
      ? 'Let the role read these schemas, or give them names with a beginning that no readable schema has: one argument then stands for all of them. Or set BACKUP_DEFINITIONS=auto for archives that name the missing schema definitions.'
      : HINT,
    cause: error,
  });
}

const HINT =
  'Fix that, or set BACKUP_DEFINITIONS=auto for archives that name the missing schema definitions.';

/** @param said pg_dump's own words @param end its exit code, or the signal that ended it */
export function dumpFailure(said: string, end: number | string | null): Failure {
  const words = said.replace(/^pg_dump: (error: )?/gm, '').trim();
  const permanent = /permission denied|unrecognized|invalid/.test(words);
  if (/^(query failed: )?ERROR: {2}invalid byte sequence for encoding "UTF8"/.test(words))
    return new Failure(
      'DEFINITIONS_FAILED',
      'permanent',
      `The database has definitions that are not valid UTF-8, which schema.sql must be. pg_dump's words: ${words}`,
      {
        hint: 'Only the encoding SQL_ASCII allows that. Change these names, comments, constants or functions with psql, where PGCLIENTENCODING=SQL_ASCII allows any bytes, or set BACKUP_DEFINITIONS=auto for archives that name the missing schema definitions.',
      },
    );
  return new Failure(
    'DEFINITIONS_FAILED',
    permanent ? 'permanent' : 'transient',
    `pg_dump failed to read the schema definitions: ${words === '' ? `it ended with ${end}` : words}.`,
    { hint: HINT },
  );
}
