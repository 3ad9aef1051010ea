import { addAbortListener } from 'node:events';
import { errorSentence, Failure } from '#common';
import {
  displayServer,
  dropTemporaryDatabase,
  expectOwnBackend,
  expectPrimary,
  OWN_ROLE,
  Session,
} from '#postgres';
import { RowProgress } from '../shared/row-progress.js';
import type { BuildRequest } from './build-request.js';

/** A database under construction. */
export interface Construction {
  /** With the database that existed before. */
  maintenance: Session;
  progress: RowProgress;
  /** The temporary name, once it is chosen: a failure drops that database. */
  name?: string;
  /** Roles that stay after a failure. */
  createdRoles: string[];
}

/**
 * Runs work that builds a database, and drops it if the work fails.
 * @throws Failure of the work, with a sentence about remains; the signal's reason
 */
export async function withConstruction<Result>(
  request: BuildRequest,
  work: (construction: Construction) => Promise<Result>,
): Promise<Result> {
  const { archive, maintenanceUrl, applicationName, journal, signal } = request;
  const progress = new RowProgress(journal.report, false);
  progress.expect(archive.manifest.totals.entities);
  progress.say('Connecting to PostgreSQL');
  const maintenance = await Session.open(maintenanceUrl.reveal(), { applicationName, signal });
  const construction: Construction = { maintenance, progress, createdRoles: [] };
  try {
    using _listener = addAbortListener(signal, () => maintenance.destroy());
    await expectPrimary(maintenance);
    await expectOwnBackend(maintenance.client, maintenanceUrl.reveal(), 'the URL');
    const result = await work(construction);
    await maintenance.close();
    return result;
  } catch (error) {
    const cause: unknown = signal.aborted ? signal.reason : error;
    maintenance.destroy();
    const { name, createdRoles } = construction;
    const left = name === undefined ? undefined : await drop(request, name, maintenance.pid);
    const remains = [
      ...(createdRoles.length > 0 ? [`The created roles stay: ${createdRoles.join(', ')}.`] : []),
      ...(left === undefined ? [] : [left]),
    ];
    throw cause instanceof Failure && remains.length > 0 ? cause.and(remains.join(' ')) : cause;
  }
}

/**
 * Drops an unfinished database.
 * @param creator the session that creates it: PostgreSQL does not notice that its client has left
 * @returns a sentence if it is still there
 */
async function drop(
  { maintenanceUrl, applicationName }: BuildRequest,
  name: string,
  creator: number,
): Promise<string | undefined> {
  const signal = AbortSignal.timeout(DROP_TIMEOUT_MS);
  const left = `The unfinished database ${name} is left on ${displayServer(maintenanceUrl.reveal())}: snapshotd recover --clean-up drops it.`;
  try {
    const session = await Session.open(maintenanceUrl.reveal(), {
      applicationName: `${applicationName} clean-up`,
      signal,
    });
    using _listener = addAbortListener(signal, () => session.destroy());
    try {
      await session.query(
        `SELECT pg_terminate_backend(pid, ${END_TIMEOUT_MS}) FROM pg_stat_activity WHERE pid = $1 AND ${OWN_ROLE}`,
        [creator],
      );
      return (await dropTemporaryDatabase(session, name)) ? undefined : left;
    } finally {
      await session.close();
    }
  } catch (error) {
    return `${left} (${errorSentence(error)})`;
  }
}

const DROP_TIMEOUT_MS = 30_000;
const END_TIMEOUT_MS = 15_000;
