import { Failure } from '#common';
import type { PgDumpView } from '#contracts';
import { quoteTable } from '../connection/identifiers.js';
import { Session } from '../connection/session.js';
import { BUNDLED_MAJOR, BUNDLED_VERSION, runBundledPgDump } from './bundled.js';
import { type ChosenObjects, holdsStatement } from './chosen-objects.js';
import { schemaPatterns } from './schema-patterns.js';
import { cleanText, type SchemaText } from './clean-text.js';
import { type LockedObjects, objectKey } from './locked-objects.js';
import {
  connectionTls,
  type ConnectionTls,
  dumpFailure,
  findPgDump,
  MAX_TEXT_BYTES,
  type PgDump,
  runNativePgDump,
  tooLong,
  whyUnusable,
} from './pg-dump.js';

/** Why no pg_dump can read a server, neither one on PATH nor the bundled one; undefined when one can. */
export function whyUnreadable(
  program: PgDump | undefined,
  serverVersion: string,
  tls: ConnectionTls,
): string | undefined {
  const reason = whyUnusable(program, serverVersion, tls);
  return reason === undefined || parseInt(serverVersion) <= BUNDLED_MAJOR
    ? undefined
    : `the server is PostgreSQL ${serverVersion}, the bundled pg_dump reads servers up to ${BUNDLED_MAJOR}, and ${reason}`;
}

/**
 * The pg_dump that reads the schema definitions of a server.
 * @param url the one that the session was opened with
 * @returns null if none can
 */
export async function choosePgDump(session: Session, url: string): Promise<PgDumpView | null> {
  const [{ version: serverVersion = '' } = {}] = await session.query<{ version: string }>(
    `SELECT pg_catalog.current_setting('server_version') AS version`,
  );
  const program = await findPgDump(url, session.client);
  const tls = connectionTls(url, session.client);
  if (program !== undefined && whyUnusable(program, serverVersion, tls) === undefined)
    return { version: program.version, source: 'PATH' };
  const isReadable = whyUnreadable(program, serverVersion, tls) === undefined;
  return isReadable ? { version: BUNDLED_VERSION, source: 'bundled' } : null;
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

/** Returns patterns that match these schemas and no other, as few as possible. */
export async function excludeSchemas(session: Session, schemas: Iterable<string>): Promise<string[]> {
  const all = await session.query<{ name: string }>('SELECT nspname AS name FROM pg_namespace');
  return schemaPatterns(
    schemas,
    all.map(({ name }) => name),
  );
}

export interface SchemaDumpOptions {
  /** The pg_dump on PATH. The bundled one reads servers that it must not read. */
  program: PgDump | undefined;
  serverVersion: string;
  /** The session that exported the snapshot, and the URL that it was opened with: pg_dump connects as it did. */
  session: Session;
  url: string;
  /** Shown in pg_stat_activity. */
  applicationName: string;
  /** An exported snapshot, whose transaction stays open. */
  snapshot: string;
  /** Patterns of schemas that are none of the repository's business, or that the role may not read. */
  exclude: string[];
  /** Objects that it must not wait for. */
  without?: LockedObjects;
  /** Missing if the text keeps all objects. */
  chosen?: ChosenObjects | undefined;
  signal: AbortSignal;
}

export interface SchemaDump {
  /** Rejects with a Failure DEFINITIONS_FAILED that has pg_dump's own words, or with the reason to stop. */
  text: Promise<SchemaText>;
  /** Ends pg_dump. */
  stop: (reason: Failure) => void;
}

/** Starts to read the definitions on an exported snapshot. */
export function dumpSchema({ signal, ...options }: SchemaDumpOptions): SchemaDump {
  const stopped = new AbortController();
  const either = AbortSignal.any([signal, stopped.signal]);
  const text = readText(options, either).catch((error: unknown) => {
    throw either.aborted ? either.reason : error;
  });
  text.catch(() => undefined); // The archive may ask for it later.
  return { text, stop: (reason) => stopped.abort(reason) };
}

async function readText(
  options: Omit<SchemaDumpOptions, 'signal'>,
  signal: AbortSignal,
): Promise<SchemaText> {
  const { program, serverVersion, session, url, applicationName, snapshot, exclude, without, chosen } =
    options;
  const args = [
    '--schema-only',
    '--create',
    // Names the catalog and the OID of each object.
    '--verbose',
    '--encoding=UTF8',
    `--snapshot=${snapshot}`,
    // One pattern each: PostgreSQL finds these by an index, and takes minutes for patterns that list many names.
    ...exclude.map((schema) => `--exclude-schema=${schema}`),
    ...(without?.relations ?? []).map((table) => `--exclude-table=${quoteTable(table)}`),
  ];
  const isNative = whyUnusable(program, serverVersion, connectionTls(url, session.client)) === undefined;
  const text = isNative
    ? await runNativePgDump({ session, url, applicationName, args }, signal)
    : await onOwnSession({ session, url, applicationName, args }, signal);
  if (text.length > MAX_TEXT_BYTES) throw tooLong();
  return cleanText(
    text,
    parseInt(serverVersion),
    (entry) =>
      without?.keys.has(objectKey(entry.class, entry.oid)) !== true &&
      (chosen === undefined || holdsStatement(chosen, entry)),
  );
}

/** Runs the bundled pg_dump on a session that is as strict as all others. */
async function onOwnSession(
  {
    session,
    url,
    applicationName,
    args,
  }: Pick<SchemaDumpOptions, 'session' | 'url' | 'applicationName'> & { args: string[] },
  signal: AbortSignal,
): Promise<Buffer> {
  const own = await Session.open(url, { applicationName, signal, beside: session }).catch(
    (error: unknown) => {
      if (!(error instanceof Failure)) throw error;
      const { persistence, message, hint, confidential } = error;
      throw new Failure('DEFINITIONS_FAILED', persistence, `pg_dump cannot connect: ${message}`, {
        cause: error,
        confidential,
        ...(hint !== undefined && { hint }),
      });
    },
  );
  try {
    return await runBundledPgDump(own, args, signal);
  } catch (error) {
    throw error instanceof Error && !(error instanceof Failure) ? dumpFailure(error.message, null) : error;
  } finally {
    own.destroy();
  }
}
