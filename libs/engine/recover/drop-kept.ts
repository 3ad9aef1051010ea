import type { KeptDatabase } from '#contracts';
import { dropKeptDatabase } from '#postgres';
import type { JobRequest } from '../shared/job-request.js';
import { onMaintenance } from './maintenance.js';

/**
 * Drops a database that a swap of this installation has kept.
 * @param kept the record of the swap
 * @throws Failure NOT_FOUND if there is no such database, DROP_REFUSED if it is in use; the signal's reason
 */
export async function dropKept(
  { repository, journal, daemonId, signal }: JobRequest,
  kept: KeptDatabase,
): Promise<void> {
  journal.report({ message: `Dropping the database ${kept.name}`, current: 0, total: 0 });
  const options = { applicationName: `snapshotd drop ${daemonId}`, signal };
  await onMaintenance(repository, options, (session) => dropKeptDatabase(session, kept));
}
