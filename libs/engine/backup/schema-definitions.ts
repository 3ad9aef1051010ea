import { setTimeout as sleep } from 'node:timers/promises';
import {
  type ArchiveWriter,
  DATABASE_NAME,
  DEFINITIONS_NAME,
  type ManifestFacts,
  type ManifestSqlFile,
} from '#archive';
import { Failure } from '#common';
import {
  connectionTls,
  type SchemaDump,
  type SchemaText,
  dumpSchema,
  type Omission,
  listClosedSchemas,
  type Observer,
  type PgDump,
  type Session,
  type Snapshot,
  type SqlFile,
  whyUnreadable,
} from '#postgres';
import type { Repository } from '../shared/repository-session.js';

/** The longest time that pg_dump may wait for a lock once the rows are copied. */
const LOCK_WAIT_MS = 5_000;
const LOOK_EVERY_MS = 500;

export interface SchemaDumpRequest {
  definitions: SchemaDefinitionsMode;
  repository: Repository;
  signal: AbortSignal;
  /** The application_name of the session that exported the snapshot. */
  applicationName: string;
  /** The pg_dump on PATH. */
  program: PgDump | undefined;
}

/** `required`: the backup fails if they cannot be read. `auto`: the manifest lists them as omitted instead. */
export type SchemaDefinitionsMode = 'auto' | 'required' | 'off';

export interface RunningSchemaDump {
  /** Missing if the archive holds none. */
  definitions?: SchemaDump;
  /** pg_dump's application_name. */
  applicationName: string;
  mode: SchemaDefinitionsMode;
  omissions: Omission[];
}

/**
 * Starts to read the schema definitions of the whole database, as far as the role may read them: tables may need types,
 * functions and extensions of other schemas.
 * @throws Failure DEFINITIONS_FAILED
 */
export async function startSchemaDump(
  { definitions: mode, repository, applicationName, program, signal }: SchemaDumpRequest,
  session: Session,
  snapshot: Snapshot,
): Promise<RunningSchemaDump> {
  const dump = { mode, applicationName: `${applicationName} definitions` };
  if (mode === 'off') return { ...dump, omissions: [omission('BACKUP_DEFINITIONS is off')] };
  const url = repository.url.reveal();
  const reason = whyUnreadable(program, snapshot.serverVersion, connectionTls(url, session.client));
  if (reason !== undefined && mode === 'required')
    throw new Failure('DEFINITIONS_FAILED', 'permanent', `Cannot read schema definitions: ${reason}.`, {
      hint: "Install a pg_dump of the server's major version on the worker, or set BACKUP_DEFINITIONS=auto for archives that name the missing schema definitions.",
    });
  if (reason !== undefined) return { ...dump, omissions: [omission(reason)] };

  const closed = await listClosedSchemas(session);
  const { own } = snapshot.members;
  const definitions = dumpSchema({
    program,
    serverVersion: snapshot.serverVersion,
    session,
    url,
    applicationName: dump.applicationName,
    snapshot: snapshot.exportedName,
    exclude: [...new Set([...own, ...closed])],
    signal,
  });
  return {
    ...dump,
    definitions,
    omissions: closed
      .filter((schema) => !own.includes(schema))
      .map((schema) => ({
        kind: 'schemaDefinitions' as const,
        count: 1,
        what: `definitions of the schema ${schema}`,
        why: 'the role may not read all of its tables',
      })),
  };
}

/** Resolves when pg_dump has ended. @throws Failure DEFINITIONS_FAILED if they are required */
export async function schemaDumpEnded({ definitions, mode }: RunningSchemaDump): Promise<void> {
  await definitions?.text.catch((error: unknown) => {
    if (!mayOmit(mode, error)) throw error;
  });
}

/**
 * Writes the schema definitions as an entry, once pg_dump has succeeded.
 * @returns their members of the manifest
 * @throws Failure DEFINITIONS_FAILED if they are required
 */
export async function addSchemaDefinitions(
  { definitions, applicationName, mode, omissions }: RunningSchemaDump,
  writer: ArchiveWriter,
  observer: Observer,
): Promise<Pick<ManifestFacts, 'databaseDefinitions' | 'definitions' | 'leftOut'>> {
  if (definitions === undefined) return { leftOut: omissions };
  let text: SchemaText;
  try {
    text = await expectRead(definitions, applicationName, observer);
  } catch (error) {
    if (mayOmit(mode, error)) return { leftOut: [omission(error.message.replace(/\s+/g, ' '))] };
    throw error;
  }
  const { schema, database } = text;
  return {
    databaseDefinitions: { ...(await addSql(writer, DATABASE_NAME, database)), name: DATABASE_NAME },
    definitions: {
      ...(await addSql(writer, DEFINITIONS_NAME, schema)),
      name: DEFINITIONS_NAME,
      beforeRows: schema.beforeRows,
    },
    leftOut: [...omissions, ...text.omissions],
  };
}

async function addSql(
  writer: ArchiveWriter,
  name: string,
  { sql, statements }: SqlFile,
): Promise<ManifestSqlFile> {
  const entry = writer.entry(name);
  try {
    await entry.write(sql);
  } catch (error) {
    entry.fail(error);
    throw error;
  }
  return { ...entry.end(), statements };
}

/** Waits until pg_dump has ended, and stops it if it waits too long for other sessions' locks. */
async function expectRead(
  { text, stop }: SchemaDump,
  applicationName: string,
  observer: Observer,
): Promise<SchemaText> {
  let waitingSince: number | undefined;
  let done = false;
  const settled = text.finally(() => (done = true));
  settled.catch(() => undefined);
  for (;;) {
    await Promise.race([settled, sleep(LOOK_EVERY_MS, undefined, { ref: false })]);
    if (done) return settled;
    const lock = await observer.sessionWaitingFor(applicationName).catch(() => undefined);
    if (lock === undefined) waitingSince = undefined;
    else if (performance.now() - (waitingSince ??= performance.now()) >= LOCK_WAIT_MS)
      stop(
        new Failure(
          'DEFINITIONS_FAILED',
          'transient',
          `pg_dump waited ${LOCK_WAIT_MS / 1_000} seconds for ${lock}.`,
        ),
      );
  }
}

function mayOmit(mode: SchemaDefinitionsMode, error: unknown): error is Failure {
  return mode !== 'required' && error instanceof Failure && error.code === 'DEFINITIONS_FAILED';
}

function omission(reason: string): Omission {
  return {
    kind: 'definitions',
    count: 1,
    what: 'definitions',
    why: `tables, indexes and functions are not included: ${reason}`,
  };
}
