import { openArchive } from '#archive';
import { Failure } from '#common';
import type { SwapObstacleCode } from '#contracts';
import { databaseIdentity, expectAccepted, expectNoOwnState, findSwapObstacles } from '#postgres';
import { describeTarget } from '../restore/describe-target.js';
import { expectSameDatabase, findStored, type Provenance } from '../shared/archive-source.js';
import type { JobRequest } from '../shared/job-request.js';
import { nameSession } from '../shared/journal.js';
import { withRepositorySession } from '../shared/repository-session.js';
import { RowProgress } from '../shared/row-progress.js';
import { maintenanceUrl, onMaintenance } from './maintenance.js';
import { recover, type RecoverResult } from './recover.js';
import type { RoleOptions } from './roles.js';
import type { SwapRecords } from './swap-records.js';
import { settleEarlierSwap, swapWithLive } from './swap-with-live.js';

/** A recover as a job of the service: into a new database beside the repository, or in its place. */
export interface RecoverIntoRequest extends JobRequest, RoleOptions, Provenance {
  /** The archive's key. */
  key: string;
  /** The name of the new database. */
  intoDatabase: string;
  /** Put it in the place of the repository's database afterwards. */
  swap: boolean;
  /** The obstacles to the swap that the request accepts. */
  accept: readonly SwapObstacleCode[];
  /** The most sessions. */
  parallelJobs: number;
  records: SwapRecords;
}

export interface RecoverIntoResult extends Partial<RecoverResult> {
  entities: number;
  /** The archive's length. */
  bytes: number;
  /** The instant of the archive: milliseconds since 1970. */
  takenOn: number;
  /** The name of the new database: its own, or after a swap that of the repository. */
  database: string;
  /** The name that the old database has after a swap. */
  keptDatabase?: string;
}

/**
 * Recovers an archive into a new database, and swaps it with the repository's database if asked. If the swap is refused or
 * fails, the new database is complete and keeps its own name.
 * @throws Failure, or the signal's reason
 */
export async function recoverInto(request: RecoverIntoRequest): Promise<RecoverIntoResult> {
  const { key, store, repository, journal, daemonId, signal, swap, accept, intoDatabase } = request;
  const progress = new RowProgress(journal.report, false);
  const swapped = await settleEarlierSwap(request);

  progress.say(`Opening the archive ${key}`);
  const object = store.openListed(await findStored(store, key, signal), signal);
  const archive = await openArchive(object);
  const { manifest } = archive;
  const result = {
    entities: manifest.totals.entities,
    bytes: object.length,
    takenOn: Date.parse(manifest.takenAt),
    database: intoDatabase,
  };
  if (swapped !== undefined) return { ...result, database: swapped.live.name, keptDatabase: swapped.keptAs };

  // The note of the session stores this message: it is the first one that a status shows.
  progress.say(describeTarget(manifest.tables, request, repository.url));
  const applicationName = await nameSession(journal, `recover ${daemonId}`);
  const own = { repository, applicationName, progress, signal };
  const live = await withRepositorySession(own, async (session) => {
    await expectSameDatabase(session, manifest, request);
    if (swap) await expectNoOwnState(session);
    return databaseIdentity(session);
  });
  // An obstacle that is found now saves the time of the recover. An earlier attempt has looked before it began one.
  if (swap && journal.notes.database === undefined)
    await onMaintenance(repository, own, async (session) =>
      expectAccepted(await findSwapObstacles(session, { live: live.databaseName }), accept),
    );
  const place = { maintenanceUrl: maintenanceUrl(repository.url), database: intoDatabase, applicationName };
  const complete = { ...(await recover({ ...request, ...place, archive })), ...result };
  if (!swap) return complete;
  progress.add(result.entities);
  try {
    if (request.endAfterSettling !== undefined) throw request.endAfterSettling;
    // Waits for the end of jobs on the live database. One that begins after this loses its sessions, and tries again.
    await withRepositorySession({ ...own, lock: 'exclusive' }, () => Promise.resolve());
    progress.allRows('Swapping the databases');
    const { keptAs } = await swapWithLive({ ...request, applicationName }, live, {
      incoming: intoDatabase,
      accept,
    });
    return { ...complete, database: live.databaseName, keptDatabase: keptAs };
  } catch (error) {
    throw error instanceof Failure ? error.and(`The new database ${intoDatabase} is complete.`) : error;
  }
}
