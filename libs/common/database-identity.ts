import type { DatabaseIdentity } from '#contracts';

/** @returns undefined if a system identifier is missing, so that nobody can tell */
export function isSameDatabase(one: DatabaseIdentity, other: DatabaseIdentity): boolean | undefined {
  if (one.systemIdentifier === null || other.systemIdentifier === null) return undefined;
  return one.systemIdentifier === other.systemIdentifier && one.databaseOid === other.databaseOid;
}

/** Names a database in messages. */
export function displayDatabase({ systemIdentifier, databaseOid, databaseName }: DatabaseIdentity): string {
  return `${databaseName} (system ${systemIdentifier ?? 'unknown'}, oid ${databaseOid})`;
}
