import type { OpenedSession } from '#contracts';
import { endSessions, transactionOutcome } from '#postgres';
import type { JobRequest } from './job-request.js';
import { notedSessions } from './journal.js';
import { openSession } from './repository-session.js';
import type { RowProgress } from './row-progress.js';

/**
 * Ends the sessions of earlier attempts of the same job, in case their worker only seemed dead: it must stop writing, and
 * release its locks.
 * @returns the session that has committed its transaction, if any
 */
export async function endSessionsOfEarlierAttempts(
  {
    journal,
    daemonId,
    repository,
    signal,
  }: Pick<JobRequest, 'journal' | 'daemonId' | 'repository' | 'signal'>,
  progress: RowProgress,
): Promise<OpenedSession | undefined> {
  const sessions = notedSessions(journal, daemonId);
  if (sessions.length === 0) return undefined;
  progress.say('Checking the outcome of an earlier attempt');
  const session = await openSession({ repository, applicationName: 'snapshotd takeover', progress, signal });
  try {
    for (const earlier of sessions) {
      await endSessions(session, earlier.name);
      const { transaction } = earlier;
      if (transaction !== undefined && (await transactionOutcome(session, transaction)) === 'committed')
        return earlier;
    }
    return undefined;
  } finally {
    await session.close();
  }
}
