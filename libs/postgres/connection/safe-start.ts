import type pg from 'pg';
import { Failure } from '#common';
import { quoteIdentifier } from './identifiers.js';
import { setSearchPath } from './search-path.js';

interface OtherRole {
  login: string;
  role: string;
  database: string;
  /** Whether it is set for all databases. */
  everywhere: boolean | null;
}

/**
 * The role that a session runs as, if it is another one than it has logged in as and its own role has not asked for
 * that. A role's own settings win over those of the database.
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
 * Makes a new connection safe; must run before all else. A search_path that the database or the role sets may lead to
 * a schema with somebody's set_config or "=", which would run with the rights of this connection. SET calls no function
 * and looks up no name, and what follows it finds PostgreSQL's own. Poolers such as PgBouncer refuse the startup
 * parameter `options`, which would do the same. And a database's owner can have every session run as another role.
 * @param schemas searched after pg_catalog
 * @param before a statement that must come first, as simple as SET
 * @throws Failure ROLE_SET_BY_DATABASE
 */
export async function startSafely(
  client: pg.ClientBase,
  schemas: string[] = [],
  before?: string,
): Promise<void> {
  const statements = [...(before === undefined ? [] : [before]), setSearchPath(schemas), OTHER_ROLE];
  // One message: its statements are looked up one after the other, each when those before it are done.
  const results: unknown = await client.query(statements.join('; '));
  const [other] = (results as pg.QueryResult<OtherRole>[]).at(-1)?.rows ?? [];
  if (other !== undefined && !asksForRole(client)) throw otherRole(other);
}

/** Whether the URL or the environment itself asks for a role, by `options`. */
function asksForRole(client: pg.ClientBase): boolean {
  // pg's types do not show its parameters.
  const { connectionParameters } = client as unknown as { connectionParameters: { options?: string } };
  return /\brole\b/i.test(connectionParameters.options ?? '');
}

function otherRole({ login, role, database, everywhere }: OtherRole): Failure {
  const of = everywhere === true ? 'ROLE ALL' : `DATABASE ${quoteIdentifier(database)}`;
  return new Failure(
    'ROLE_SET_BY_DATABASE',
    'permanent',
    `The setting "role" of the database ${database} makes sessions of ${login} run as the role ${role}.`,
    {
      hint: `The database's owner may have set it. Run: ALTER ${of} RESET role; If ${login} is to run as ${role}, run: ALTER ROLE ${quoteIdentifier(login)} SET role = ${quoteIdentifier(role)};`,
    },
  );
}
