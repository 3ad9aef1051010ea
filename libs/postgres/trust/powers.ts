import type { Session } from '../connection/session.js';

/** Roles that run code as the server's operating system user, or read and write its files. */
const SERVER_ROLES = ['pg_execute_server_program', 'pg_read_server_files', 'pg_write_server_files'];

/** The rights of a role that reach beyond the objects that it owns. */
export interface Powers {
  role: string;
  superuser: boolean;
  /** Attributes and memberships, such as CREATEROLE. */
  more: string[];
}

/** Returns the powers of the role that a session logged in as, its own and those of its memberships. */
export async function powersOf(session: Session): Promise<Powers> {
  const [powers] = await session.query<Powers>(
    `SELECT me.rolname::text AS role, me.rolsuper AS superuser,
            ARRAY(SELECT attribute FROM pg_catalog.unnest(ARRAY[
                           CASE WHEN me.rolcreaterole THEN 'CREATEROLE' END,
                           CASE WHEN me.rolreplication THEN 'REPLICATION' END]) AS attribute
                   WHERE attribute IS NOT NULL)
            || ARRAY(SELECT other.rolname::text FROM pg_catalog.pg_roles other
                      WHERE NOT me.rolsuper AND other.oid <> me.oid
                        AND (other.rolsuper OR other.rolcreaterole OR other.rolreplication OR other.rolname = ANY ($1))
                        AND pg_catalog.pg_has_role(me.oid, other.oid, 'MEMBER')
                      ORDER BY 1) AS more
       FROM pg_catalog.pg_roles me WHERE me.rolname = session_user`,
    [SERVER_ROLES],
  );
  return { role: '', superuser: false, more: [], ...powers };
}
