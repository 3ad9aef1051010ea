import { randomInt } from 'node:crypto';
import { addAbortListener } from 'node:events';
import { ArchiveWriter, ENTRY_MEMORY_BYTES, type Manifest } from '#archive';
import { errorSentence, Failure, runTaskGroup } from '#common';
import {
  databaseIdentity,
  expectSameTables,
  findPgDump,
  listOmissions,
  listPlannable,
  planChunks,
  readConfigurationSequences,
  readSequences,
  lockedTables,
  takeSnapshot,
} from '#postgres';
import type { MultipartUpload } from '#storage';
import { RowProgress } from '../shared/row-progress.js';
import { type BackupRequest, type BackupResult, resultOf } from './backup-request.js';
import { addRoles } from './add-roles.js';
import { compare, startComparison } from './compare.js';
import { describeArchive } from './describe-archive.js';
import { LargeObjectCopy } from './copy-large-objects.js';
import { copyConfiguration, copyTables } from './copy-tables.js';
import { refuseOmissions } from './refuse-omissions.js';
import { takeOverArchives } from './earlier-archives.js';
import { endSessionsOfEarlierAttempts } from '../shared/takeover.js';
import { limitLockWait } from './lock-wait.js';
import { addSchemaDefinitions, schemaDumpEnded, startSchemaDump } from './schema-definitions.js';

import { nameSession, noteArchive } from '../shared/journal.js';
import { withParallelSessions } from '../shared/parallel-sessions.js';
import { withRepositorySession } from '../shared/repository-session.js';

export interface WriteArchiveRequest extends BackupRequest {
  /** Whether the caller holds the exclusive repository lock. Taking it again would wait forever. */
  lockIsHeld?: boolean;
}

/** Entries of full size that are compressed or uploaded while each session fills another one. */
const ENTRIES_WAITING = 2;

/** A terminated backup waits this long for the store to abort its upload. */
const CLEAN_UP_TIMEOUT_MS = 1_000;

/**
 * Backs up the repository, as it is at one instant, into one object. The object appears complete or not at all: a
 * failed backup leaves neither an object nor a multipart upload behind.
 * @throws Failure, or the signal's reason
 */
export async function backup(request: BackupRequest): Promise<BackupResult> {
  // An attempt that died may have left a multipart upload, or a complete archive that it did not report.
  const finished = await takeOverArchives(request);
  if (finished !== undefined) return finished;
  await endSessionsOfEarlierAttempts(request, new RowProgress(request.journal.report));
  if (request.endAfterSettling !== undefined) throw request.endAfterSettling;
  return writeArchive(request);
}

/** Makes the archive. The caller has cleaned up after earlier attempts. @throws Failure, or the signal's reason */
export async function writeArchive(request: WriteArchiveRequest): Promise<BackupResult> {
  const { journal, signal } = request;
  // The key is recorded before the upload exists, so that a takeover can find it. Starting the upload
  // also proves write access to the bucket before anything is read.
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
 * Starts the upload. A termination meanwhile does not wait for the store; if the upload starts nevertheless, it is
 * aborted when the store answers. After any other failure the next attempt looks for the key.
 */
async function startUpload(request: WriteArchiveRequest, key: string): Promise<MultipartUpload> {
  const { store, signal } = request;
  signal.throwIfAborted();
  const starting = store.startUpload(key, signal);
  const upload = await settledBefore(signal, starting);
  if (upload !== undefined) return upload;
  const removing = starting.then(
    async (late) => void (await late.abort()),
    () => store.abortUploads(key, undefined),
  );
  throw await discard(request, key, removing, signal.reason);
}

/** Reads the repository at one instant and writes the archive's bytes, the manifest last. */
async function readRepository(request: WriteArchiveRequest, upload: MultipartUpload): Promise<Manifest> {
  const { daemonId, repository, journal, signal } = request;
  const progress = new RowProgress(journal.report, false);
  const applicationName = await nameSession(journal, `backup ${daemonId}`);
  const url = repository.url.reveal();
  // A restore holds this lock exclusively. Take it before the snapshot: an older snapshot shows the repository as it was
  // before the restore.
  const lock = request.lockIsHeld === true ? undefined : 'shared';
  const sessionOptions = { repository, applicationName, progress, signal, lock } as const;
  return withRepositorySession(sessionOptions, async (session, ended, observer) => {
    progress.say('Taking the snapshot');
    const findingPgDump = request.definitions === 'off' ? undefined : findPgDump(url, session.client);
    const snapshot = await limitLockWait(session, observer, request.lockWaitMs, () =>
      takeSnapshot(session, repository.scope),
    );
    const comparing = startComparison({ ...request, signal: ended }, await databaseIdentity(session));
    const objects = await LargeObjectCopy.plan(session, request);
    upload.expect(snapshot.tables.reduce((bytes, table) => bytes + table.bytes, objects.bytes));
    // Sequences are outside every snapshot: the sooner they are read, the closer they are to the rows.
    const { sequences, omissions: unread } = await readSequences(session, observer, snapshot.members);
    const configured = await readConfigurationSequences(session, observer);
    // pg_dump reads while the rows are copied; its output is written after them.
    const failed = new AbortController();
    const either = AbortSignal.any([ended, failed.signal]);
    const dump = await startSchemaDump(
      { ...request, applicationName, program: await findingPgDump, signal: either },
      session,
      snapshot,
    );
    // Before the rows are copied, which can take hours. Definitions may still fail while they are.
    if (request.failOnOmissions === true) {
      const known = await listOmissions(session, snapshot.members);
      refuseOmissions(request, [...dump.omissions, ...unread, ...configured.omissions, ...known]);
    }
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
    const [manifest] = await runTaskGroup(ended, [
      async (stopped) => {
        const { parallelJobs } = request;
        const options = {
          url,
          applicationName,
          leader: session,
          snapshot,
          parallelJobs,
          chunks,
          others: objects.ranges,
          signal: stopped,
        };
        const tables = await withParallelSessions(options, (sessions) => {
          const others = objects.tasks(snapshot, writer, progress);
          return copyTables(sessions, snapshot, chunks, others, writer, progress, stopped);
        });
        const configuration = {
          tables: await copyConfiguration(session, snapshot, writer),
          sequences: configured.sequences,
        };
        await observer.ask((observing) => expectSameTables(observing, lockedTables(snapshot)));
        if (dump.definitions !== undefined) progress.allRows('Copying schema definitions');
        const { leftOut, ...definitions } = await addSchemaDefinitions(dump, writer, observer);
        const roles = await addRoles(session, writer);
        const omitted = [...leftOut, ...unread, ...configured.omissions, ...objects.omissions];
        const contents = {
          tables,
          sequences,
          configuration,
          roles,
          ...objects.copied(),
          leftOut: omitted,
        };
        const facts = await describeArchive(request, session, snapshot, contents);
        refuseOmissions(request, facts.leftOut);
        const { warnings, ...comparison } = compare(await comparing, tables, request.shrinkWarningPercent);
        return writer.finish({
          ...facts,
          ...comparison,
          ...definitions,
          warnings: [...(facts.warnings ?? []), ...warnings],
        });
      },
      // Required definitions that fail stop the rows, and failing rows stop pg_dump.
      async (stopped) => {
        using _listener = addAbortListener(stopped, () => failed.abort(stopped.reason));
        await schemaDumpEnded(dump);
      },
    ]);
    progress.allRows(`Finishing the upload of ${manifest.totals.entities} entities to S3`);
    return manifest;
  });
}

/**
 * Waits for the removal of a failed backup's remains from the store. A terminated backup does not wait for a store that
 * stalls: the removal then continues in the background.
 * @returns the error to throw
 */
async function discard(
  { signal, finishLater }: BackupRequest,
  key: string,
  removing: Promise<void>,
  error: unknown,
): Promise<unknown> {
  const settled = removing.then(
    () => true,
    () => true,
  );
  if (signal.aborted && !(await settledBefore(AbortSignal.timeout(CLEAN_UP_TIMEOUT_MS), settled))) {
    finishLater(`Aborting the multipart upload ${key}`, removing);
    return error;
  }
  try {
    await removing;
    return error;
  } catch (cleanupError) {
    const remains = `Cannot abort its multipart upload ${key}: ${errorSentence(cleanupError)}`;
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
  // The upload may have completed although the answer was lost. If another worker may have the job by now, it decides
  // about the object: it knows the key, and may have found the archive complete.
  if (!upload.completing || isHandedOver(signal) || (await journal.isOvertaken())) return;
  await store.delete(key);
}

function isHandedOver({ reason }: AbortSignal): boolean {
  return (
    reason instanceof Failure && (reason.code === 'WORKER_STOPPING' || reason.code === 'WORKER_LOST_LOCK')
  );
}

/** @returns the work's result, or undefined if the signal is aborted first. @throws what the work throws */
async function settledBefore<Result>(
  signal: AbortSignal,
  work: Promise<Result>,
): Promise<Result | undefined> {
  let stop: () => void = () => undefined;
  const aborted = new Promise<undefined>((resolve) => (stop = () => resolve(undefined)));
  using _listener = addAbortListener(signal, stop);
  return await Promise.race([work, aborted]);
}

/** Random digits distinguish archives of equal job ids: ids start at 1 again after the queue was lost. */
function newArchiveKey({ keyPrefix, daemonId }: BackupRequest): string {
  const digits = `${randomInt(1, 2 ** 47)}${randomInt(0, 10_000)}`;
  return `${keyPrefix}BackupDaemonJob${daemonId}-${digits}.zip`;
}
