import { type Manifest, type ManifestTable, openArchive } from '#archive';
import { errorSentence } from '#common';
import {
  adviseOnLocks,
  beginWithExclusiveLocks,
  endSessions,
  expectSameTables,
  quoteTable,
  type Relation,
  type Session,
  transactionId,
  transactionOutcome,
} from '#postgres';
import type { BackupRequest } from '../backup/backup-request.js';
import { writeArchive } from '../backup/backup.js';
import { RowProgress } from '../shared/row-progress.js';
import type { Destination } from './table-mapping.js';
import { endSessionsOfEarlierAttempts } from '../shared/takeover.js';
import { takeOverArchives } from '../backup/earlier-archives.js';
import { planRestore, type RestorePlan, touchedTables } from './restore-plan.js';
import { nameSession, notedArchives, noteSession } from '../shared/journal.js';
import { analyzeTables } from './analyze-tables.js';
import { openStored } from '../shared/open-stored.js';
import { replaceRows } from './replace-rows.js';
import {
  openSession,
  type RepositorySessionOptions,
  withRepositorySession,
} from '../shared/repository-session.js';
import { expectSameDatabase, type Provenance } from '../shared/same-database.js';

/** What a backup needs, for the safety net, and what is to be restored and where. */
export interface RestoreRequest extends BackupRequest, Destination, Provenance {
  /** The archive's key. */
  key: string;
  /** Leave tables alone that the archive does not hold, instead of refusing. */
  allowExtraTables: boolean;
  /** Whether rows may violate checks and foreign keys, which then come back unvalidated, and are named. */
  keepViolations?: boolean | undefined;
  /** Let event triggers fire on the restore's statements. */
  fireEventTriggers: boolean;
  /** First make an archive of what is there, and go on only when it is complete. */
  backupFirst: boolean;
}

export interface RestoreResult {
  entities: number;
  /** The archive's length; missing where an earlier attempt had done it all. */
  bytes?: number;
  /** What could not be made anew, by name. */
  leftOut?: string[];
}

/**
 * Puts an archive's rows back in place of what the repository holds, or beside it: all of them, in one
 * transaction, or none. Refuses before it changes anything when the archive is not whole or does not plan.
 * @throws Failure, or the signal's reason
 */
export async function restore(request: RestoreRequest): Promise<RestoreResult> {
  const { key, store, repository, journal, daemonId, signal } = request;
  const progress = new RowProgress(journal.report);

  // A session's name is on record before it can write, and its transaction before it does. So a worker that takes
  // over can end a session that only seemed dead, and knows whether its transaction was committed.
  const committedEarlier = await endSessionsOfEarlierAttempts(request, progress);
  if (committedEarlier !== undefined) return { entities: committedEarlier.entities ?? 0 };
  // The safety archive of an attempt that died is kept until there is a newer one, and must not go unnamed.
  const safety = await takeOverArchives(request);
  if (safety !== undefined) await journal.note({ safetyKey: safety.key });
  if (request.endAfterSettling !== undefined) throw request.endAfterSettling;

  progress.say(`Opening the archive ${key}`);
  const object = await openStored(store, key, signal);
  const archive = await openArchive(object);
  const { manifest } = archive;
  let entities = manifest.totals.entities;
  const { length: bytes } = object;
  progress.expect(entities);
  const applicationName = await nameSession(journal, `restore ${daemonId}`);

  const lock = request.intoSchemas === undefined ? 'exclusive' : 'shared';
  let committed = false;
  let leftOut: string[] = [];
  try {
    return await withRepositorySession(
      { repository, applicationName, progress, signal, lock },
      async (session, signal, observer) => {
        await expectSameDatabase(session, manifest, request);
        const options = { ...request, schemas: repository.schemas };
        const plan = await planRestore(session, manifest, options);
        entities = plan.archived.reduce((total, { rows }) => total + rows, 0);
        progress.expect(entities);

        if (request.backupFirst) await progress.silently(() => makeSafetyArchive(request, signal));

        const advise = await adviseOnLocks(session, touchedTables(plan), plan.sequences.length);
        progress.say('Waiting for the locks of the tables');
        await beginWithExclusiveLocks(session, lockedTables(plan), () =>
          progress.say('Waiting for the locks of the tables: others use them'),
        ).catch(advise);
        // Definitions could change until the locks were there.
        const locked = await planRestore(session, manifest, options);

        const transaction = await transactionId(session);
        await observer.flushLog();
        await noteSession(journal, { name: applicationName, transaction, entities });
        signal.throwIfAborted();
        leftOut = [
          ...partsMissing(manifest, request.tables && plan.archived),
          ...(await replaceRows(session, archive, locked, progress, signal).catch(advise)),
        ];
        await observer.ask((observing) => expectSameTables(observing, locked.tables));

        signal.throwIfAborted();
        progress.allRows('Committing');
        await commit(session, transaction, { repository, applicationName, progress, signal });
        committed = true;
        // Others may use the tables again by now. Whatever ends it leaves this to autovacuum.
        progress.allRows('Making statistics for the planner');
        const without = await analyzeTables(locked, {
          ...request,
          leader: session,
          applicationName,
          signal,
        });
        leftOut.push(...without.map((table) => `statistics of ${table}`));
        return { entities, bytes, leftOut };
      },
    );
  } catch (error) {
    // Whatever failed after the commit, the repository is restored.
    if (committed) return { entities, bytes, leftOut: [...leftOut, `statistics (${errorSentence(error)})`] };
    throw signal.aborted ? signal.reason : error;
  }
}

/** What belongs to the restored tables and is not in the archive, by name. @param tables undefined for all */
function partsMissing({ leftOut }: Manifest, tables: ManifestTable[] | undefined): string[] {
  const restored = tables?.flatMap((table) => [table, ...table.partitionOf]).map(quoteTable);
  return leftOut
    .filter(({ of }) => of?.some((table) => restored?.includes(quoteTable(table)) ?? true))
    .map(({ what }) => what);
}

/** The tables to be loaded, and those outside whose foreign keys point to them. */
function lockedTables({ tables, suspensions }: RestorePlan): Relation[] {
  const all = [...tables, ...suspensions.flatMap(({ table }) => table ?? [])];
  return [...new Map(all.map((table) => [quoteTable(table), table])).values()];
}

/**
 * Makes an archive of what is there now. The lock is held already, by the session of the restore. Those of earlier
 * attempts, which changed nothing, are of no use any more.
 */
async function makeSafetyArchive(request: RestoreRequest, signal: AbortSignal): Promise<void> {
  const { journal, store, daemonId, keyPrefix } = request;
  const report = (progress: Parameters<typeof journal.report>[0]) =>
    journal.report({ ...progress, message: `Safety backup: ${progress.message}` });
  const { key } = await writeArchive({
    ...request,
    lockIsHeld: true,
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

/** Commits; when the connection breaks before the answer is there, asks for the outcome on another one. */
async function commit(
  session: Session,
  transaction: string,
  options: RepositorySessionOptions,
): Promise<void> {
  try {
    await session.commit();
  } catch (error) {
    const other = await openSession({ ...options, applicationName: 'snapshotd outcome' }).catch(() => {
      throw error; // A later attempt asks.
    });
    try {
      await endSessions(other, options.applicationName);
      if ((await transactionOutcome(other, transaction)) !== 'committed') throw error;
    } finally {
      await other.close();
    }
  }
}
