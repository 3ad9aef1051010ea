import type { Manifest } from '#archive';
import { displayDatabase, Failure, isSameDatabase } from '#common';
import type { DatabaseIdentity } from '#contracts';
import { databaseIdentity, type Session } from '#postgres';
import type { ListedObject, ObjectStore } from '#storage';

/** Finds an archive in the store. @throws Failure STORE_OBJECT_MISSING */
export async function findStored(
  store: ObjectStore,
  key: string,
  signal: AbortSignal,
): Promise<ListedObject> {
  const object = await store.find(key, signal);
  if (object !== undefined) return object;
  const message = `There is no archive ${key} in the bucket ${store.bucket}.`;
  throw new Failure('STORE_OBJECT_MISSING', 'permanent', message, { hint: 'Check its name.' });
}

/** The databases whose archives a restore or a verification accepts. */
export interface Provenance {
  /** Accept an archive of any database. */
  otherDatabase?: boolean;
  /** Databases that were the repository before. */
  predecessors?: DatabaseIdentity[];
}

/** The database that an archive was taken from; undefined if the archive does not name it. */
function archivedDatabase({ server }: Manifest): DatabaseIdentity | undefined {
  const { systemIdentifier, databaseOid, database } = server;
  if (systemIdentifier === undefined || databaseOid === undefined) return undefined;
  return { systemIdentifier, databaseOid, databaseName: database };
}

/**
 * Refuses an archive of another database. If either database is unknown, it accepts the archive.
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
    `The archive was taken from another database: ${displayDatabase(archived)}. The repository is ${displayDatabase(here)}.`,
    { hint: 'Nothing was changed. To use it nevertheless, set "otherDatabase": true (--other-database).' },
  );
}
