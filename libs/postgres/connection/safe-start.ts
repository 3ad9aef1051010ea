import type pg from 'pg';
import { Failure } from '#common';
import { quoteIdentifier, setSearchPath } from './identifiers.js';
import { startupOptions } from './pg-internals.js';

interface OtherRole {
  login: string;
  role: string;
  database: string;
  /** Whether the setting is for all databases. */
  everywhere: boolean | null;
}

/**
 * SQL: the role that a session runs as, if it is not the login role and the login role's own settings do not ask for it.
 * A role's settings override the database's.
 * https://www.postgresql.org/docs/current/catalog-pg-db-role-setting.html
 */
const OTHER_ROLE = `
  WITH settings AS (
    SELECT s.setrole AS of_role, s.setdatabase = 0::pg_catalog.oid AS everywhere
      FROM pg_catalog.pg_db_role_setting AS s CROSS JOIN pg_catalog.unnest(s.setconfig) AS one (setting)
     WHERE pg_catalog.starts_with(one.setting, 'role=')
       AND s.setdatabase IN (0::pg_catalog.oid, (SELECT d.oid FROM pg_catalog.pg_database AS d WHERE d.datname = pg_catalog.current_database()))
       AND s.setrole IN (0::pg_catalog.oid, (SELECT r.oid FROM pg_catalog.pg_roles AS r WHERE r.rolname = SESSION_USER))
  )
  SELECT SESSION_USER AS login, CURRENT_USER AS role, pg_catalog.current_database() AS database,
         (SELECT pg_catalog.bool_and(everywhere) FROM settings) AS everywhere
   WHERE SESSION_USER <> CURRENT_USER AND NOT EXISTS (SELECT FROM settings WHERE of_role <> 0::pg_catalog.oid)`;

/**
 * Sets a safe search_path on a new connection, and refuses a role that the database chose. It must run first: a
 * search_path of the database or the role may contain another role's set_config or "=", which would run with the rights
 * of this connection. SET calls no function and looks up no name, and later statements find PostgreSQL's own objects.
 * Poolers such as PgBouncer refuse the startup parameter `options`, which would do the same.
 * @param schemas searched after pg_catalog
 * @param before a statement to run first; like SET it must look up no name
 * @throws Failure ROLE_SET_BY_DATABASE
 */
export async function startSafely(
  client: pg.ClientBase,
  schemas: string[] = [],
  before?: string,
): Promise<void> {
  const statements = [...(before === undefined ? [] : [before]), setSearchPath(schemas), OTHER_ROLE];
  // One message: PostgreSQL analyzes each of its statements after running those before it.
  const results: unknown = await client.query(statements.join('; '));
  const [other] = (results as pg.QueryResult<OtherRole>[]).at(-1)?.rows ?? [];
  if (other !== undefined && !/\brole\b/i.test(startupOptions(client))) throw otherRole(other);
}

function otherRole({ login, role, database, everywhere }: OtherRole): Failure {
  const of = everywhere === true ? 'ROLE ALL' : `DATABASE ${quoteIdentifier(database)}`;
  return new Failure(
    'ROLE_SET_BY_DATABASE',
    'permanent',
    `The setting "role" of the database ${database} makes sessions of ${login} run as the role ${role}.`,
    {
      hint: `The database's owner may have set it. Run: ALTER ${of} RESET role; If ${login} should run as ${role}, run: ALTER ROLE ${quoteIdentifier(login)} SET role = ${quoteIdentifier(role)};`,
    },
  );
}
