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
  chooseObjects,
  type ChosenObjects,
  connectionTls,
  displayTable,
  type SchemaDump,
  type SchemaText,
  dumpSchema,
  excludeSchemas,
  findLockedObjects,
  type LockedObjects,
  type Members,
  type Omission,
  isHeld,
  listClosedSchemas,
  listDatabaseObjects,
  listHiddenMappings,
  listLostPublished,
  type Observer,
  type PgDump,
  type Relation,
  type Session,
  type Snapshot,
  type SqlFile,
  whyUnreadable,
} from '#postgres';
import type { Repository } from '../shared/repository-session.js';

/** The longest time that pg_dump may wait for a lock once the rows are copied. */
const LOCK_WAIT_MS = 5_000;
const LOOK_EVERY_MS = 500;
/** The most runs of pg_dump. Each may meet other locked tables. */
const MAX_TRIES = 4;
/** Names of 63 bytes fit into the arguments of the bundled pg_dump. */
const MAX_UNRELATED = 250;

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
  /** Runs pg_dump again, without objects that it would wait for. */
  again?: (without: LockedObjects) => SchemaDump;
  /** Finds these objects, apart from those of the repository. */
  members: Members;
  /** Missing if the definitions hold all objects. */
  chosen?: ChosenObjects | undefined;
  /** pg_dump's application_name. */
  applicationName: string;
  mode: SchemaDefinitionsMode;
  omissions: Omission[];
}

/**
 * Starts to read the schema definitions of the database, as far as the role may read them. If schemas are listed, the
 * definitions hold these and all that they depend on, such as types, functions and extensions of other schemas. Otherwise
 * they hold all that is not excluded, and what that depends on.
 * @throws Failure DEFINITIONS_FAILED
 */
export async function startSchemaDump(
  { definitions: mode, repository, applicationName, program, signal }: SchemaDumpRequest,
  session: Session,
  snapshot: Snapshot,
): Promise<RunningSchemaDump> {
  const { members } = snapshot;
  const dump = { mode, members, applicationName: `${applicationName} definitions` };
  if (mode === 'off') return { ...dump, omissions: [omission('BACKUP_DEFINITIONS is off')] };
  const url = repository.url.reveal();
  const reason = whyUnreadable(program, snapshot.serverVersion, connectionTls(url, session.client));
  if (reason !== undefined && mode === 'required')
    throw new Failure('DEFINITIONS_FAILED', 'permanent', `Cannot read schema definitions: ${reason}.`, {
      hint: "Install a pg_dump of the server's major version on the worker, or set BACKUP_DEFINITIONS=auto for archives that name the missing schema definitions.",
    });
  if (reason !== undefined) return { ...dump, omissions: [omission(reason)] };

  const listsSchemas = repository.scope.schemas !== '*';
  const chosen = await chooseObjects(session, members, listsSchemas);
  const unrelated = chosen?.unrelated ?? [];
  const closed = await listClosedSchemas(session);
  const options = {
    program,
    serverVersion: snapshot.serverVersion,
    session,
    url,
    applicationName: dump.applicationName,
    snapshot: snapshot.exportedName,
    // pg_dump need not lock the tables of unrelated schemas. Too many names would not fit into its arguments.
    exclude: await excludeSchemas(session, [...members.own, ...closed, ...unrelated.slice(0, MAX_UNRELATED)]),
    chosen,
    signal,
  };
  return {
    ...dump,
    chosen,
    definitions: dumpSchema(options),
    again: (without) => dumpSchema({ ...options, without }),
    omissions: await omittedDefinitions(session, { members, closed, chosen, listsSchemas }),
  };
}

/** The definitions that the role may not read, and those that the archives of listed schemas lack. */
async function omittedDefinitions(
  session: Session,
  {
    members,
    closed,
    chosen,
    listsSchemas,
  }: { members: Members; closed: string[]; chosen: ChosenObjects | undefined; listsSchemas: boolean },
): Promise<Omission[]> {
  const unrelated = chosen?.unrelated ?? [];
  return [
    ...closed
      .filter((schema) => !members.own.includes(schema) && !unrelated.includes(schema))
      .map((schema) => ({
        kind: 'schemaDefinitions' as const,
        count: 1,
        what: `definitions of the schema ${schema}`,
        why: 'the role may not read all of its tables',
      })),
    ...(await listDatabaseObjects(session, listsSchemas)),
    ...(listsSchemas || chosen === undefined ? [] : await listLostPublished(session, chosen)),
    ...(await listHiddenMappings(session, (key) => chosen === undefined || isHeld(chosen, key))),
  ];
}

/**
 * Foresees the definitions that a backup would omit.
 * @param program the pg_dump on PATH
 */
export async function foreseeOmittedDefinitions(
  session: Session,
  members: Members,
  {
    definitions,
    repository,
    program,
    version,
  }: Pick<SchemaDumpRequest, 'definitions' | 'repository' | 'program'> & { version: string },
): Promise<Omission[]> {
  if (definitions === 'off') return [omission('BACKUP_DEFINITIONS is off')];
  const tls = connectionTls(repository.url.reveal(), session.client);
  const reason = whyUnreadable(program, version, tls);
  if (reason !== undefined) return [omission(reason)];
  const listsSchemas = repository.scope.schemas !== '*';
  const chosen = await chooseObjects(session, members, listsSchemas);
  const closed = await listClosedSchemas(session);
  return omittedDefinitions(session, { members, closed, chosen, listsSchemas });
}

/** Ends a pg_dump that waits for a lock outside the repository. */
const LOCKED = new Failure('DEFINITIONS_FAILED', 'transient', 'pg_dump waits for a lock.');

/** Resolves when the first pg_dump has ended. @throws Failure DEFINITIONS_FAILED if they are required */
export async function schemaDumpEnded({ definitions, mode }: RunningSchemaDump): Promise<void> {
  await definitions?.text.catch((error: unknown) => {
    if (error !== LOCKED && !mayOmit(mode, error)) throw error;
  });
}

/**
 * Writes the schema definitions as an entry, once pg_dump has succeeded.
 * @returns their members of the manifest
 * @throws Failure DEFINITIONS_FAILED if they are required
 */
export async function addSchemaDefinitions(
  dump: RunningSchemaDump,
  writer: ArchiveWriter,
  observer: Observer,
): Promise<Pick<ManifestFacts, 'databaseDefinitions' | 'definitions' | 'leftOut'>> {
  const { omissions } = dump;
  let read: ReadDefinitions | undefined;
  try {
    read = await readAround(dump, observer);
  } catch (error) {
    if (mayOmit(dump.mode, error)) return { leftOut: [omission(error.message.replace(/\s+/g, ' '))] };
    throw error;
  }
  if (read === undefined) return { leftOut: omissions };
  const { text } = read;
  const { chosen } = dump;
  const locked = read.locked.filter(({ key }) => chosen === undefined || isHeld(chosen, key));
  const { schema, database } = text;
  return {
    databaseDefinitions: { ...(await addSql(writer, DATABASE_NAME, database)), name: DATABASE_NAME },
    definitions: {
      ...(await addSql(writer, DEFINITIONS_NAME, schema)),
      name: DEFINITIONS_NAME,
      beforeRows: schema.beforeRows,
    },
    leftOut: [...omissions, ...locked.map(lockedOmission), ...text.omissions],
  };
}

function lockedOmission(table: Relation): Omission {
  return {
    kind: 'tableDefinitions',
    count: 1,
    what: `the definition of ${displayTable(table)}`,
    why: 'another session locked it, or a table that it depends on',
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

interface ReadDefinitions {
  text: SchemaText;
  /** Those that are missing in it. */
  locked: LockedObjects['relations'];
}

/** Reads the definitions, without the tables outside the repository that others lock. */
async function readAround(
  { definitions, again, applicationName, members }: RunningSchemaDump,
  observer: Observer,
): Promise<ReadDefinitions | undefined> {
  let reading = definitions;
  let locked: LockedObjects = { relations: [], keys: new Set() };
  for (let tries = 1; reading !== undefined; tries++) {
    const mayDoWithout = async () => {
      locked = await observer.ask((session) => findLockedObjects(session, members));
      return tries < MAX_TRIES && locked.keys.size > 0;
    };
    try {
      const text = await expectRead(reading, { applicationName, observer, mayDoWithout });
      return { text, locked: locked.relations };
    } catch (error) {
      if (error !== LOCKED) throw error;
      reading = again?.(locked);
    }
  }
  return undefined;
}

/** Waits until pg_dump has ended, and stops it if it waits too long for other sessions' locks. */
async function expectRead(
  { text, stop }: SchemaDump,
  {
    applicationName,
    observer,
    mayDoWithout,
  }: { applicationName: string; observer: Observer; mayDoWithout: () => Promise<boolean> },
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
        (await mayDoWithout())
          ? LOCKED
          : new Failure(
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
