import type { Journal } from '#contracts';
import { Failure } from '#common';
import {
  dropAbandonedDatabases,
  dropTemporaryDatabase,
  endSessions,
  isTemporaryDatabaseName,
  type Session,
  transactionOutcome,
} from '#postgres';
import { notedSessions } from '../shared/journal.js';

/**
 * Ends the sessions of earlier attempts of the same job, and drops their unfinished database; drops also those of other
 * recovers that nobody works on.
 * @param maintenance with the database that the earlier attempts connected to first
 * @param database the name of the complete database; undefined for a drill, which drops its own
 * @returns whether an earlier attempt has completed it
 * @throws Failure NOT_AUTHENTIC for notes that are not of a recover, REPOSITORY_BUSY
 */
export async function settleEarlierRecovers(
  maintenance: Session,
  journal: Journal,
  daemonId: string | undefined,
  database: string | undefined,
): Promise<boolean> {
  if (daemonId !== undefined)
    for (const { name, transaction } of notedSessions(journal, daemonId)) {
      if (name !== maintenance.applicationName) await endSessions(maintenance, name);
      // It has filled an existing database.
      if (transaction === undefined || database === undefined) continue;
      await endSessions(maintenance, name, database);
      if ((await transactionOutcome(maintenance, transaction)) === 'committed') return true;
    }
  const earlier = journal.notes.database;
  if (earlier !== undefined) {
    if (!isTemporaryDatabaseName(earlier.name))
      throw new Failure(
        'NOT_AUTHENTIC',
        'permanent',
        `The notes of the job name ${earlier.name}, which is no temporary database. snapshotd leaves it alone.`,
        { hint: 'Check who can write to the queue. Then start the job again.' },
      );
    if (
      database !== undefined &&
      earlier.oid !== undefined &&
      (await hasName(maintenance, earlier.oid, database))
    )
      return true;
    await dropTemporaryDatabase(maintenance, earlier.name);
  }
  await dropAbandonedDatabases(maintenance);
  return false;
}

async function hasName(session: Session, oid: string, name: string): Promise<boolean> {
  const rows = await session.query('SELECT FROM pg_database WHERE oid = $1::oid AND datname = $2', [
    oid,
    name,
  ]);
  return rows.length > 0;
}
