/** Which database it is, whatever address leads to it. A replica and the server it was promoted from are the same. */
export interface DatabaseIdentity {
  /** The cluster's, from initdb; null where the server refuses to tell. */
  systemIdentifier: string | null;
  databaseOid: number;
  /** For people: a database that is renamed stays the same one. */
  databaseName: string;
}

/** @returns undefined when it cannot be told, because a system identifier is missing */
export function isSameDatabase(one: DatabaseIdentity, other: DatabaseIdentity): boolean | undefined {
  if (one.systemIdentifier === null || other.systemIdentifier === null) return undefined;
  return one.systemIdentifier === other.systemIdentifier && one.databaseOid === other.databaseOid;
}

/** A database as messages name it. */
export function displayDatabase({ systemIdentifier, databaseOid, databaseName }: DatabaseIdentity): string {
  return `${databaseName} (system ${systemIdentifier ?? 'unknown'}, oid ${databaseOid})`;
}

/** The database that the workers of a queue work for. */
export interface RepositoryIdentity {
  /** Null until a worker has recorded it. */
  identity: DatabaseIdentity | null;
  /** Databases that the repository has moved away from, the latest first. Their archives are its own. */
  predecessors: DatabaseIdentity[];
  /** Milliseconds since 1970. */
  recordedOn: number | null;
  /** Why no worker believes what is recorded. */
  problem: string | null;
}
