import { addAbortListener } from 'node:events';
import type { Secret } from '#config';
import { Failure, formatBytes } from '#common';
import type { OpenArchive } from '#archive';
import { databaseIdentity, displayServer, expectHarmlessDrill, Session } from '#postgres';
import { drill, type DrillResult } from '../recover/drill.js';
import type { JobRequest } from '../shared/job-request.js';
import { nameSession } from '../shared/journal.js';

/** Where a drill recovers into a scratch database. */
export interface DrillServer {
  /** With a database that exists, such as `postgres`. */
  url: Secret;
  /** The most sessions. */
  parallelJobs: number;
}

/**
 * Recovers an archive into a scratch database of a server that may run its code.
 * @param allowSuperuser whether any role may drill on the server of the repository
 * @throws Failure DRILL_REFUSED, RECOVER_DIFFERS, PostgreSQL's; the signal's reason
 */
export async function drillByRecover(
  { repository, daemonId, journal, endAfterSettling, signal }: JobRequest,
  archive: OpenArchive,
  { url, parallelJobs }: DrillServer,
  allowSuperuser: boolean,
): Promise<DrillResult> {
  const { totals, largeObjects, definitions, server } = archive.manifest;
  if (definitions === undefined)
    throw new Failure(
      'DRILL_REFUSED',
      'permanent',
      'The archive holds no schema definitions, so no database can be recovered from it.',
      { hint: 'Verify it at the level FIT, or set BACKUP_DEFINITIONS=required for later backups.' },
    );
  const applicationName = await nameSession(journal, `verify ${daemonId}`);
  if (!allowSuperuser) {
    const session = await Session.open(url.reveal(), { applicationName, signal });
    using _listener = addAbortListener(signal, () => session.destroy());
    try {
      const { systemIdentifier } = await databaseIdentity(session);
      const ours = [repository.identity?.systemIdentifier, server.systemIdentifier];
      if (systemIdentifier === null || ours.includes(systemIdentifier)) await expectHarmlessDrill(session);
    } finally {
      await session.close();
    }
  }
  const bytes = totals.bytes + (largeObjects?.bytes ?? 0);
  const message = `Recovering into a scratch database on ${displayServer(url.reveal())}: ${formatBytes(bytes)} of rows and large objects, and their indexes`;
  journal.report({ message, current: 0, total: 0 });
  return drill({
    archive,
    maintenanceUrl: url,
    parallelJobs,
    applicationName,
    journal,
    daemonId,
    endAfterSettling,
    signal,
  });
}
