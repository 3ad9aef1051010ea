import type { Manifest } from '#archive';
import { displayDatabase, Failure, isSameDatabase } from '#common';
import type { DatabaseIdentity } from '#contracts';
import { databaseIdentity, type Session } from '#postgres';

/** Which archives a restore or a verification takes. */
export interface Provenance {
  /** Take an archive of any database. */
  otherDatabase?: boolean;
  /** Databases that the repository has moved away from. */
  predecessors?: DatabaseIdentity[];
}

/** The database that an archive was taken from; undefined for one that does not say so. */
function archivedDatabase({ server }: Manifest): DatabaseIdentity | undefined {
  const { systemIdentifier, databaseOid, database } = server;
  if (systemIdentifier === undefined || databaseOid === undefined) return undefined;
  return { systemIdentifier, databaseOid, databaseName: database };
}

/**
 * Refuses an archive of another database. Where either side is unknown nothing is compared.
 * @throws Failure OTHER_DATABASE
 */
export async function expectSameDatabase(
  session: Session,
  manifest: Manifest,
  { otherDatabase = false, predecessors = [] }: Provenance,
): Promise<void> {
  const archived = archivedDatabase(manifest);
  if (otherDatabase || archived === undefined) return;
  const here = await databaseIdentity(session);
  if ([here, ...predecessors].some((one) => isSameDatabase(one, archived) !== false)) return;
  throw new Failure(
    'OTHER_DATABASE',
    'permanent',
    `The archive was taken from another database: ${displayDatabase(archived)}. REPOSITORY_URL leads to ${displayDatabase(here)}.`,
    { hint: 'Nothing was changed. To use it all the same, set "otherDatabase": true (--other-database).' },
  );
}

/** Refuses a connection that leads to another database than was expected. @throws Failure REPOSITORY_ELSEWHERE */
export async function expectDatabase(session: Session, expected: DatabaseIdentity): Promise<void> {
  const here = await databaseIdentity(session);
  if (isSameDatabase(here, expected) !== false) return;
  throw new Failure(
    'REPOSITORY_ELSEWHERE',
    'permanent',
    `REPOSITORY_URL leads to ${displayDatabase(here)}, and the repository is ${displayDatabase(expected)}.`,
    { hint: 'Correct REPOSITORY_URL, or accept the database as the new place of the repository.' },
  );
}
