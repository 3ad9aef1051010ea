import { addAbortListener } from 'node:events';
import type { Secret } from '#config';
import { dropAbandonedDatabases, Session } from '#postgres';

/** Unfinished databases of recovers. */
export interface CleanUpResult {
  dropped: string[];
  /** Somebody works on them. */
  inUse: string[];
}

/**
 * Drops the unfinished databases that recovers of this role have left on a server.
 * @param maintenanceUrl with the database that the recovers connected to first
 * @throws Failure, or the signal's reason
 */
export async function cleanUpRecovers(maintenanceUrl: Secret, signal: AbortSignal): Promise<CleanUpResult> {
  const applicationName = 'snapshotd recover clean-up';
  const session = await Session.open(maintenanceUrl.reveal(), { applicationName, signal });
  using _listener = addAbortListener(signal, () => session.destroy());
  try {
    return await dropAbandonedDatabases(session);
  } finally {
    await session.close();
  }
}
