import type { DatabaseIdentity, Journal, NotedSwap, SwapObstacleCode } from '#contracts';
import {
  databaseIdentity,
  endSessions,
  expectAccepted,
  findSwapObstacles,
  hasSwapped,
  planSwap,
  Session,
  swapDatabases,
} from '#postgres';
import { notedSessions } from '../shared/journal.js';
import type { Repository } from '../shared/repository-session.js';
import { maintenanceUrl, onMaintenance } from './maintenance.js';
import { keptDatabase, nextIdentity, type SwapRecords } from './swap-records.js';

interface SwapRequest {
  repository: Repository;
  daemonId: string;
  journal: Journal;
  records: SwapRecords;
  /** Shown in pg_stat_activity. */
  applicationName: string;
  signal: AbortSignal;
}

/**
 * Swaps a complete database with the live one.
 * @throws Failure SWAP_REFUSED, PostgreSQL's; the signal's reason
 */
export function swapWithLive(
  request: SwapRequest,
  identity: DatabaseIdentity,
  { incoming: name, accept }: { incoming: string; accept: readonly SwapObstacleCode[] },
): Promise<NotedSwap> {
  const { repository, journal, records, applicationName, signal } = request;
  return onMaintenance(repository, request, async (session) => {
    const names = { live: identity.databaseName, incoming: name };
    expectAccepted(await findSwapObstacles(session, names), accept);
    const plan = await planSwap(session, { ...names, at: new Date() });
    const { live, incoming, keptAs, mark } = plan;
    const noted: NotedSwap = {
      live: { name: live.name, oid: live.oid, owner: live.owner },
      incoming: { name: incoming.name, oid: incoming.oid },
      keptAs,
      mark,
    };
    const next = nextIdentity(identity, noted);
    await journal.note({ swap: noted });
    await records.begin(keptDatabase(noted), next);
    const url = maintenanceUrl(repository.url).reveal();
    const connect = () => Session.open(url, { applicationName, beside: session });
    try {
      await swapDatabases(session, plan, { connect, signal });
    } catch (error) {
      // If nobody can tell now, a later attempt or a worker that finds the new database does.
      await settleEarlierSwap({ ...request, signal: AbortSignal.timeout(SETTLE_WITHIN_MS) }).catch(
        () => undefined,
      );
      throw error;
    }
    await records.committed(next);
    return noted;
  });
}

const SETTLE_WITHIN_MS = 30_000;

/**
 * Finds out whether a swap that an attempt of this job began has happened, and brings the records up to date.
 * @returns the swap if it is committed
 */
export async function settleEarlierSwap({
  journal,
  daemonId,
  repository,
  records,
  signal,
}: Omit<SwapRequest, 'applicationName'>): Promise<NotedSwap | undefined> {
  const { swap } = journal.notes;
  if (swap === undefined) return undefined;
  const options = { applicationName: 'snapshotd takeover', signal };
  return onMaintenance(repository, options, async (session) => {
    for (const { name } of notedSessions(journal, daemonId)) await endSessions(session, name);
    if (!(await hasSwapped(session, swap))) {
      await records.failed(keptDatabase(swap));
      return undefined;
    }
    await records.committed(nextIdentity(await databaseIdentity(session), swap));
    return swap;
  });
}
