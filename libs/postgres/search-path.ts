import type pg from 'pg';
import { quoteIdentifier } from './identifiers.js';

/**
 * The statement that makes unqualified names mean PostgreSQL's own objects, then those of the given schemas. A
 * temporary table comes last: unless it is named, PostgreSQL looks for tables among the temporary ones first.
 * https://www.postgresql.org/docs/current/runtime-config-client.html#GUC-SEARCH-PATH
 */
export function setSearchPath(schemas: string[] = []): string {
  const path = schemas.filter((schema) => !['pg_catalog', 'pg_temp'].includes(schema)).map(quoteIdentifier);
  return `SET search_path TO ${['pg_catalog', ...path, 'pg_temp'].join(', ')}`;
}

/**
 * Gives a new connection a search_path that nobody else decides. A database's or a role's own may lead to a schema
 * with somebody's set_config or "=", which would run with the rights of this connection. So this must be its first
 * statement. SET calls nothing and looks nothing up, whatever the path is; the startup parameter `options` would do
 * too, but poolers refuse it.
 */
export async function useSafePath(client: pg.ClientBase, schemas: string[] = []): Promise<void> {
  await client.query(setSearchPath(schemas));
}
