import type { ManifestFacts, ManifestTable } from '#archive';
import {
  databaseIdentity,
  databaseProperties,
  displayTable,
  listColumnTypes,
  listExtensions,
  listOmissions,
  listPopulatedViews,
  listRowConditions,
  listTableDetails,
  type Session,
  type Snapshot,
  warnOfAmbiguousNames,
  warnOfEventTriggers,
  warnOfLocks,
} from '#postgres';
import type { BackupRequest } from './backup-request.js';

/** Tables that one warning names. */
const NAMED_TABLES = 10;

/**
 * Reads from the repository what the manifest adds to the copied contents. A restore compares these facts with its
 * target, and omissions and warnings tell what the archive cannot bring back.
 */
export async function describeArchive(
  request: BackupRequest,
  session: Session,
  snapshot: Snapshot,
  {
    tables: copied,
    sequences,
    leftOut,
    ...contents
  }: Pick<ManifestFacts, 'tables' | 'sequences' | 'configuration' | 'roles' | 'largeObjects' | 'leftOut'>,
): Promise<ManifestFacts> {
  const { daemonId, version, repository } = request;
  const { members, serverVersion, serverEncoding, database, exportedName, walPosition } = snapshot;
  const { systemIdentifier, databaseOid } = await databaseIdentity(session);
  const conditions = [...(await listRowConditions(session, snapshot.tables)).values()];
  const details = await listTableDetails(session, snapshot.tables);
  const tables = copied.map((table, index) => ({
    ...table,
    details: details.get(snapshot.tables[index]?.oid ?? 0),
    conditions: conditions[index]?.map(({ definition }) => definition) ?? [],
  }));
  return {
    product: { name: 'snapshotd', version },
    daemonId,
    takenAt: snapshot.takenAt.toISOString(),
    server: {
      version: serverVersion,
      encoding: serverEncoding,
      database,
      ...(systemIdentifier !== null && { systemIdentifier }),
      databaseOid,
    },
    snapshot: { name: exportedName, walPosition },
    schemas: members.schemas,
    scope: { ...repository.scope, excluded: members.exclusions },
    tables,
    types: await listColumnTypes(session, snapshot.tables),
    sequences,
    ...contents,
    extensions: await listExtensions(session, snapshot.tables),
    database: await databaseProperties(session),
    populatedViews: await listPopulatedViews(session, members),
    warnings: await warningsOf(session, snapshot, tables, sequences.length),
    leftOut: [...leftOut, ...(await listOmissions(session, members))],
  };
}

/** Names the obstacles to a restore that are known at the time of the backup. */
async function warningsOf(
  session: Session,
  snapshot: Snapshot,
  tables: ManifestTable[],
  sequences: number,
): Promise<string[]> {
  const invalid = tables.filter(({ invalidText }) => invalidText).map(displayTable);
  return [
    ...(await warnOfEventTriggers(session)),
    ...(await warnOfLocks(session, snapshot.tables, sequences)),
    ...(await warnOfAmbiguousNames(session, snapshot.tables)),
    ...(invalid.length > 0
      ? [
          `${invalid.slice(0, NAMED_TABLES).join(', ')}${invalid.length > NAMED_TABLES ? ` and ${invalid.length - NAMED_TABLES} more` : ''} hold bytes that are not valid ${snapshot.serverEncoding}. snapshotd restores them; pg_dump and psql do not.`,
        ]
      : []),
  ];
}
