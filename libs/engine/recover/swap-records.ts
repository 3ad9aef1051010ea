import type { DatabaseIdentity, KeptDatabase, NotedSwap } from '#contracts';

/** The records of a swap that outlive its job. */
export interface SwapRecords {
  /** Records the database to keep, and the repository's database after the swap, before it begins. */
  begin(kept: KeptDatabase, next: DatabaseIdentity): Promise<void>;
  /** The swap is committed: from now on, workers expect the other database. */
  committed(next: DatabaseIdentity): Promise<void>;
  /** The swap has changed nothing. */
  failed(kept: KeptDatabase): Promise<void>;
}

/** The record of the database that a swap keeps. */
export function keptDatabase({ live, keptAs, mark }: NotedSwap): KeptDatabase {
  return { name: keptAs, of: live.name, oid: live.oid, owner: live.owner, mark };
}

/** The repository's database after a swap. @param here any database of its server */
export function nextIdentity(here: DatabaseIdentity, { live, incoming }: NotedSwap): DatabaseIdentity {
  return { ...here, databaseOid: incoming.oid, databaseName: live.name };
}
