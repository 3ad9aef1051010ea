import { type Manifest, type ManifestTable, openArchive } from '#archive';
import { errorSentence } from '#common';
import {
  adviseOnLocks,
  beginWithExclusiveLocks,
  endSessions,
  expectSameTables,
  type NamedTable,
  quoteTable,
  type Relation,
  type Session,
  transactionId,
  transactionOutcome,
} from '#postgres';
import type { BackupRequest } from '../backup/backup-request.js';
import { writeArchive } from '../backup/backup.js';
import { RowProgress } from '../shared/row-progress.js';
import { type ColumnOptions, describeColumns } from './column-map.js';
import { describeTarget } from './describe-target.js';
import { chooseTables, type RestoreTarget } from './table-mapping.js';
import { endSessionsOfEarlierAttempts } from '../shared/takeover.js';
import { takeOverArchives } from '../backup/earlier-archives.js';
import { warnOfExtraLargeObjects } from './large-objects.js';
import { furtherLocks, planRestore, type RestorePlan, touchedTables } from './restore-plan.js';
import { nameSession, notedArchives, noteSession } from '../shared/journal.js';
import { analyzeTables } from './analyze-tables.js';
import { replaceRows } from './replace-rows.js';
import {
  openSession,
  type RepositorySessionOptions,
  withRepositorySession,
} from '../shared/repository-session.js';
import { expectSameDatabase, findStored, type Provenance } from '../shared/archive-source.js';

/** A restore. The fields of a backup are for the safety backup. */
export interface RestoreRequest extends BackupRequest, RestoreTarget, ColumnOptions, Provenance {
  /** The archive's key. */
  key: string;
  /** Accept tables that the archive does not hold, and leave them as they are. */
  allowExtraTables: boolean;
  /** Accept rows that violate checks and foreign keys. The result names these; they are reinstated as NOT VALID. */
  keepViolations?: boolean | undefined;
  /** Accept that event triggers fire on the restore's statements. */
  fireEventTriggers: boolean;
  /** Remove large objects that the archive does not hold. */
  removeExtraLargeObjects?: boolean | undefined;
  /** Back up the repository first, and continue only when that archive is complete. */
  backupFirst: boolean;
}

export interface RestoreResult {
  entities: number;
  /** The archive's length; missing if an earlier attempt had committed. */
  bytes?: number;
  /** Objects that the restore could not reinstate exactly, by name. */
  omissions?: string[];
  /** Contents of the database that the restore has left as they were, in sentences. */
  warnings?: string[];
  /** The columns that got defaults or were dropped, a sentence for each table. */
  columns?: string[];
  /** Contents that the archive does not hold; missing if an earlier attempt had committed. */
  archiveOmits?: Manifest['leftOut'];
}

/**
 * Restores an archive's rows in place or into other schemas, in one transaction: completely or not at all. Refuses an
 * archive that is incomplete or does not fit before it changes anything.
 * @throws Failure, or the signal's reason
 */
export async function restore(request: RestoreRequest): Promise<RestoreResult> {
  const { key, store, repository, journal, daemonId, signal } = request;
  const progress = new RowProgress(journal.report);

  // A session's name is recorded before the session is opened, and its transaction before it writes. So a worker that
  // takes over can end a session that only seemed dead, and knows whether its transaction was committed.
  const committedEarlier = await endSessionsOfEarlierAttempts(request, progress);
  if (committedEarlier !== undefined) return { entities: committedEarlier.entities ?? 0 };
  // The safety archive of an attempt that died is kept until there is a newer one. The job's record names it.
  const safety = await takeOverArchives(request);
  if (safety !== undefined) await journal.note({ safetyKey: safety.key });
  if (request.endAfterSettling !== undefined) throw request.endAfterSettling;

  progress.say(`Opening the archive ${key}`);
  const object = store.openListed(await findStored(store, key, signal), signal);
  const archive = await openArchive(object);
  const { manifest } = archive;
  let entities = manifest.totals.entities;
  const { length: bytes } = object;
  progress.expect(entities);
  // The note of the session stores this message: it is the first one that a status shows.
  progress.say(describeTarget(chooseTables(manifest, request), request, repository.url));
  const applicationName = await nameSession(journal, `restore ${daemonId}`);

  const lock = request.intoSchemas === undefined ? 'exclusive' : 'shared';
  let committed = false;
  let omissions: string[] = [];
  let warnings: string[] = [];
  let columns: string[] = [];
  let archiveOmits: Manifest['leftOut'] = [];
  try {
    return await withRepositorySession(
      { repository, applicationName, progress, signal, lock },
      async (session, ended, observer) => {
        await expectSameDatabase(session, manifest, request);
        const options = { ...request, scope: repository.scope };
        const plan = await planRestore(session, archive, options);
        entities = plan.archived.reduce((total, { rows }) => total + rows, 0);
        progress.expect(entities);

        if (request.backupFirst) await progress.silently(() => makeSafetyArchive(request, ended));

        const advise = await adviseOnLocks(session, touchedTables(plan), furtherLocks(plan));
        progress.say('Waiting for table locks');
        await beginWithExclusiveLocks(session, lockedTables(plan), () =>
          progress.say('Waiting for table locks: other sessions use the tables'),
        ).catch(advise);
        // The schema could change until the locks were granted.
        const locked = await planRestore(session, archive, options);

        warnings = warnOfExtraLargeObjects(locked.largeObjects);
        columns = describeColumns(locked.columnMaps);
        const transaction = await transactionId(session);
        await observer.flushLog();
        await noteSession(journal, { name: applicationName, transaction, entities });
        ended.throwIfAborted();
        archiveOmits = omissionsOf(manifest, request.tables && plan.archived);
        omissions = await replaceRows(session, archive, locked, progress, ended).catch(advise);
        await observer.ask((observing) => expectSameTables(observing, restoredTables(locked)));

        ended.throwIfAborted();
        progress.allRows('Committing');
        await commit(session, transaction, { repository, applicationName, progress, signal: ended });
        committed = true;
        // Other sessions may use the tables again. If this fails, autovacuum does it.
        progress.allRows('Collecting planner statistics');
        const failed = await analyzeTables(locked, {
          ...request,
          leader: session,
          applicationName,
          signal: ended,
        });
        omissions.push(...failed.map((table) => `statistics of ${table}`));
        return { entities, bytes, omissions, archiveOmits, columns, warnings };
      },
    );
  } catch (error) {
    // An error after the commit does not undo the restore.
    if (committed)
      return {
        entities,
        bytes,
        omissions: [...omissions, `statistics (${errorSentence(error)})`],
        warnings,
        archiveOmits,
        columns,
      };
    throw signal.aborted ? signal.reason : error;
  }
}

/** The omissions of an archive that concern the restored tables. @param tables undefined for all */
function omissionsOf({ leftOut }: Manifest, tables: ManifestTable[] | undefined): Manifest['leftOut'] {
  if (tables === undefined) return leftOut;
  const restored = new Set(tables.flatMap((table) => [table, ...table.partitionOf]).map(quoteTable));
  return leftOut.filter(({ of }) => of?.some((table) => restored.has(quoteTable(table))));
}

/** The tables whose rows are replaced. */
function restoredTables({ tables, configuration }: RestorePlan): NamedTable[] {
  return [...tables, ...configuration.map(({ live }) => live)];
}

/** The tables to load, and those whose foreign keys refer to them. */
function lockedTables(plan: RestorePlan): Relation[] {
  const { suspensions } = plan;
  const all = [...restoredTables(plan), ...suspensions.flatMap(({ table }) => table ?? [])];
  return [...new Map(all.map((table) => [quoteTable(table), table])).values()];
}

/**
 * Backs up the repository before the restore, whose session holds the repository lock. Deletes the safety archives of
 * earlier attempts, which changed nothing.
 */
async function makeSafetyArchive(request: RestoreRequest, signal: AbortSignal): Promise<void> {
  const { journal, store, daemonId, keyPrefix } = request;
  const report = (progress: Parameters<typeof journal.report>[0]) =>
    journal.report({ ...progress, message: `Safety backup: ${progress.message}` });
  const { key } = await writeArchive({
    ...request,
    lockIsHeld: true,
    // A setting for backups must not prevent a restore.
    failOnOmissions: false,
    signal,
    journal: {
      report,
      get notes() {
        return journal.notes;
      },
      note: (change) => journal.note(change),
      isOvertaken: () => journal.isOvertaken(),
    },
  });
  await journal.note({ safetyKey: key });
  for (const earlier of notedArchives(journal, daemonId, keyPrefix))
    if (earlier.key !== key) await store.delete(earlier.key, signal);
}

/** Commits. If the connection breaks before the answer, queries the outcome on another connection. */
async function commit(
  session: Session,
  transaction: string,
  options: RepositorySessionOptions,
): Promise<void> {
  try {
    await session.commit();
  } catch (error) {
    const other = await openSession({ ...options, applicationName: 'snapshotd outcome' }).catch(() => {
      throw error; // A later attempt queries the outcome.
    });
    try {
      await endSessions(other, options.applicationName);
      if ((await transactionOutcome(other, transaction)) !== 'committed') throw error;
    } finally {
      await other.close();
    }
  }
}
