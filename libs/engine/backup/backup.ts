import { randomInt } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  ArchiveWriter,
  ENTRY_MEMORY_BYTES,
  type Manifest,
  type ManifestFacts,
  type ManifestTable,
} from '#archive';
import { errorSentence, Failure, runTaskGroup } from '#common';
import {
  databaseIdentity,
  displayTable,
  expectSameTables,
  findPgDump,
  listColumnTypes,
  listExtensions,
  listOmissions,
  listPlannable,
  listPopulatedViews,
  listRowConditions,
  planChunks,
  readSequences,
  type Session,
  type Snapshot,
  takeSnapshot,
  warnOfAmbiguousNames,
  warnOfEventTriggers,
  warnOfLocks,
} from '#postgres';
import type { MultipartUpload } from '#storage';
import { RowProgress } from '../shared/row-progress.js';
import { type BackupRequest, type BackupResult, resultOf } from './backup-request.js';
import { copyTables } from './copy-tables.js';
import { takeOverArchives } from './earlier-archives.js';
import { endSessionsOfEarlierAttempts } from '../shared/takeover.js';
import { addSchemaDefinitions, schemaDumpEnded, startSchemaDump } from './schema-definitions.js';

import { nameSession, noteArchive } from '../shared/journal.js';
import { withParallelSessions } from '../shared/parallel-sessions.js';
import { withRepositorySession } from '../shared/repository-session.js';

export interface WriteArchiveRequest extends BackupRequest {
  /** Whether the caller holds the repository lock, alone: then it must not be taken again. */
  lockIsHeld?: boolean;
}

/** Tables told in one warning. */
const TOLD = 10;

/** Entries of full size that are compressed or uploaded while every session fills another one. */
const ENTRIES_WAITING = 2;

/** How long a backup that was ended waits for the store to forget its upload. */
const CLEAN_UP_TIMEOUT_MS = 1_000;

/**
 * Backs the repository up, as it is at one instant, into one object. The object appears whole and at the end,
 * or not at all: whatever fails, neither an object nor an unfinished upload is left behind.
 * @throws Failure, or the signal's reason
 */
export async function backup(request: BackupRequest): Promise<BackupResult> {
  // An attempt that died may have left an upload, or even a finished archive that nobody was told of.
  const finished = await takeOverArchives(request);
  if (finished !== undefined) return finished;
  await endSessionsOfEarlierAttempts(request, new RowProgress(request.journal.report));
  if (request.endAfterSettling !== undefined) throw request.endAfterSettling;
  return writeArchive(request);
}

/** What makes a backup once nothing is left of earlier attempts. */
export async function writeArchive(request: WriteArchiveRequest): Promise<BackupResult> {
  const { journal, signal } = request;
  // The key is on record before the upload exists, so that a takeover can find it. Starting the
  // upload also proves that the bucket may be written to, before anything is read.
  const key = newArchiveKey(request);
  await noteArchive(journal, { key });
  const upload = await startUpload(request, key);
  try {
    await noteArchive(journal, { key, uploadId: upload.id });
    const manifest = await readRepository(request, upload);
    await upload.complete();
    return { key, ...resultOf(manifest), bytes: upload.length };
  } catch (error) {
    const removing = removeRemains(request, key, upload);
    throw await discard(request, key, removing, signal.aborted ? signal.reason : error);
  }
}

/**
 * Starts the upload. Ending the backup meanwhile does not wait for the store, but an upload that it begins all
 * the same is removed when it answers. Any other failure is one of an attempt, and the next looks for the key.
 */
async function startUpload(request: WriteArchiveRequest, key: string): Promise<MultipartUpload> {
  const { store, signal } = request;
  signal.throwIfAborted();
  const starting = store.startUpload(key, signal);
  const settled = new AbortController();
  const aborted = new Promise<'aborted'>((resolve) => {
    const options = { once: true, signal: settled.signal };
    signal.addEventListener('abort', () => resolve('aborted'), options);
  });
  const upload = await Promise.race([starting, aborted]).finally(() => settled.abort());
  if (upload !== 'aborted') return upload;
  const removing = starting.then(
    async (late) => void (await late.abort()),
    () => store.abortUploads(key, undefined),
  );
  throw await discard(request, key, removing, signal.reason);
}

/** Reads the repository at one instant and writes all of the archive's bytes, the manifest last. */
async function readRepository(request: WriteArchiveRequest, upload: MultipartUpload): Promise<Manifest> {
  const { daemonId, repository, journal, signal } = request;
  const progress = new RowProgress(journal.report, false);
  const applicationName = await nameSession(journal, `backup ${daemonId}`);
  const url = repository.url.reveal();
  // A restore holds this lock alone. It must be taken before the snapshot: waiting with one would show the repository as
  // it was before the restore.
  const lock = request.lockIsHeld === true ? undefined : 'shared';
  const sessionOptions = { repository, applicationName, progress, signal, lock } as const;
  return withRepositorySession(sessionOptions, async (session, signal, observer) => {
    progress.say('Taking the snapshot');
    const findingPgDump = request.definitions === 'off' ? undefined : findPgDump(url, session.client);
    const snapshot = await takeSnapshot(session, repository.schemas);
    upload.expect(snapshot.tables.reduce((bytes, table) => bytes + table.bytes, 0));
    // Outside of every snapshot: the sooner they are read, the nearer they are to the rows.
    const { sequences, omissions: unread } = await readSequences(session, observer, repository.schemas);
    // pg_dump reads while the rows are counted and copied, and is written after them.
    const failed = new AbortController();
    const either = AbortSignal.any([signal, failed.signal]);
    const dump = await startSchemaDump(
      { ...request, applicationName, program: await findingPgDump, signal: either },
      session,
      snapshot,
    );
    progress.expect(snapshot.tables.reduce((rows, { estimatedRows }) => rows + estimatedRows, 0));

    const chunks = planChunks(
      snapshot.tables,
      await listPlannable(session, snapshot.tables),
      request.chunkBytes,
    );
    const writer = new ArchiveWriter((bytes) => upload.write(bytes), {
      compressionLevel: request.compressionLevel,
      modifiedAt: snapshot.takenAt,
      waitingBytes: ENTRIES_WAITING * ENTRY_MEMORY_BYTES,
    });
    const [manifest] = await runTaskGroup(signal, [
      async (signal) => {
        const lanes = { url, applicationName, leader: session, snapshot, parallelJobs: request.parallelJobs };
        const tables = await withParallelSessions({ ...lanes, chunks, signal }, (sessions) =>
          copyTables(sessions, snapshot, chunks, writer, progress, signal),
        );
        await observer.ask((observing) => expectSameTables(observing, snapshot.tables));
        if (dump.definitions !== undefined) progress.allRows('Copying the definitions');
        const { definitions, leftOut } = await addSchemaDefinitions(dump, writer, observer);
        const contents = { tables, sequences, leftOut: [...leftOut, ...unread] };
        const facts = await describe(request, session, snapshot, contents);
        return writer.finish(definitions === undefined ? facts : { ...facts, definitions });
      },
      // Nobody need wait for the rows if definitions that are required fail, nor for pg_dump if the rows fail.
      async (signal) => {
        // A listener that stays would keep all of this backup's memory.
        const stop = () => failed.abort(signal.reason);
        signal.addEventListener('abort', stop, { once: true });
        await schemaDumpEnded(dump).finally(() => signal.removeEventListener('abort', stop));
      },
    ]);
    progress.allRows(`Finishing the upload of ${manifest.totals.entities} entities to S3`);
    return manifest;
  });
}

async function describe(
  request: BackupRequest,
  session: Session,
  snapshot: Snapshot,
  { tables: copied, sequences, leftOut }: Pick<ManifestFacts, 'tables' | 'sequences' | 'leftOut'>,
): Promise<ManifestFacts> {
  const { daemonId, version, repository } = request;
  const { serverVersion, serverEncoding, database, exportedName, walPosition } = snapshot;
  const { systemIdentifier, databaseOid } = await databaseIdentity(session);
  const conditions = [...(await listRowConditions(session, snapshot.tables)).values()];
  const tables = copied.map((table, index) => ({
    ...table,
    conditions: conditions[index]?.map(({ definition }) => definition) ?? [],
  }));
  return {
    product: { name: 'snapshotd', version },
    daemonId,
    takenAt: snapshot.takenAt.toISOString(),
    server: {
      version: serverVersion,
      encoding: serverEncoding,
      database,
      ...(systemIdentifier !== null && { systemIdentifier }),
      databaseOid,
    },
    snapshot: { name: exportedName, walPosition },
    schemas: repository.schemas,
    tables,
    types: await listColumnTypes(session, snapshot.tables),
    sequences,
    extensions: await listExtensions(session, snapshot.tables),
    populatedViews: await listPopulatedViews(session, repository.schemas),
    warnings: await warningsOf(session, snapshot, tables, sequences.length),
    leftOut: [...leftOut, ...(await listOmissions(session, repository.schemas))],
  };
}

/** What would hinder a restore, as far as it is known now. */
async function warningsOf(
  session: Session,
  snapshot: Snapshot,
  tables: ManifestTable[],
  sequences: number,
): Promise<string[]> {
  const invalid = tables.filter(({ invalidText }) => invalidText).map(displayTable);
  return [
    ...(await warnOfEventTriggers(session)),
    ...(await warnOfLocks(session, snapshot.tables, sequences)),
    ...(await warnOfAmbiguousNames(session, snapshot.tables)),
    ...(invalid.length > 0
      ? [
          `${invalid.slice(0, TOLD).join(', ')}${invalid.length > TOLD ? ` and ${invalid.length - TOLD} more` : ''} hold bytes that are not valid ${snapshot.serverEncoding}. A restore brings them back; pg_dump and psql do not.`,
        ]
      : []),
  ];
}

/**
 * Waits until what a failed backup left in the store is removed, and gives the error to throw. Ending the
 * backup does not wait for a store that stalls: the removal then goes on by itself.
 */
async function discard(
  { signal, finishLater }: BackupRequest,
  key: string,
  removing: Promise<void>,
  error: unknown,
): Promise<unknown> {
  if (signal.aborted && !(await settlesWithin(removing, CLEAN_UP_TIMEOUT_MS))) {
    finishLater(`Removing the unfinished upload ${key}`, removing);
    return error;
  }
  try {
    await removing;
    return error;
  } catch (cleanupError) {
    const remains = `Its unfinished upload ${key} could not be removed: ${errorSentence(cleanupError)}`;
    return error instanceof Failure
      ? error.and(remains)
      : new AggregateError([error, cleanupError], `${errorSentence(error)} ${remains}`);
  }
}

async function removeRemains(
  { store, journal, signal }: BackupRequest,
  key: string,
  upload: MultipartUpload,
): Promise<void> {
  await upload.abort();
  // Completing may have failed in the answer only, with the object in place. Where another worker may have the
  // daemon by now, the object is left to it: it knows the key, and may have found the archive whole.
  if (!upload.completing || isHandedOver(signal) || (await journal.isOvertaken())) return;
  await store.delete(key);
}

function isHandedOver({ reason }: AbortSignal): boolean {
  return (
    reason instanceof Failure && (reason.code === 'WORKER_STOPPING' || reason.code === 'WORKER_LOST_LOCK')
  );
}

async function settlesWithin(work: Promise<unknown>, milliseconds: number): Promise<boolean> {
  const done = new AbortController();
  const settled = work.then(
    () => true,
    () => true,
  );
  const late = sleep(milliseconds, false, { signal: done.signal }).catch(() => false);
  const result = await Promise.race([settled, late]);
  done.abort();
  return result;
}

/** Random digits keep one life of the queue, whose ids begin at 1 again, from meeting the archives of another. */
function newArchiveKey({ keyPrefix, daemonId }: BackupRequest): string {
  const digits = `${randomInt(1, 2 ** 47)}${randomInt(0, 10_000)}`;
  return `${keyPrefix}BackupDaemonJob${daemonId}-${digits}.zip`;
}
