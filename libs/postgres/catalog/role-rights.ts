import type { Members } from './members.js';
import type { Session } from '../connection/session.js';
import { type Powers, powersOf } from '../trust/powers.js';
import { inRepository } from './tables.js';

/** The rights of a role beyond those that backups and restores need, and those that it lacks for restores. */
export interface RoleRights extends Powers {
  /** The number of the repository's tables. */
  tables: number;
  /** The number of those whose owner's rights the role lacks. */
  notOwned: number;
}

/** Returns the rights of the role that a session logged in as. */
export async function roleRights(session: Session, { relations }: Members): Promise<RoleRights> {
  const [counts] = await session.query<Pick<RoleRights, 'tables' | 'notOwned'>>(
    `SELECT pg_catalog.count(*)::int AS tables,
            (pg_catalog.count(*) FILTER (WHERE NOT pg_catalog.pg_has_role(c.relowner, 'USAGE')))::int AS "notOwned"
       FROM ${inRepository('r')}`,
    [relations],
  );
  const { tables = 0, notOwned = 0 } = counts ?? {};
  return { ...(await powersOf(session)), tables, notOwned };
}
