import type { KeptDatabaseView } from '#contracts';
import type { KeptRecord } from '#queue';

/** The record for clients. */
export function viewOf({ name, of, owner, keptOn, daemon }: KeptRecord): KeptDatabaseView {
  return { name, of, owner, keptOn, daemonId: daemon };
}
