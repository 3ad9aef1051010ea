import type pg from 'pg';
import { quoteIdentifier } from './identifiers.js';

/**
 * The statement that makes unqualified names mean PostgreSQL's own objects, then those of the given schemas. The
 * schema of temporary objects is named, and last: PostgreSQL searches it first for tables and types otherwise.
 * https://www.postgresql.org/docs/current/runtime-config-client.html#GUC-SEARCH-PATH
 */
export function setSearchPath(schemas: string[] = []): string {
  const path = schemas.filter((schema) => !['pg_catalog', 'pg_temp'].includes(schema)).map(quoteIdentifier);
  return `SET search_path TO ${['pg_catalog', ...path, 'pg_temp'].join(', ')}`;
}

/**
 * Sets the search_path of a new connection; must be its first statement. A path that the database or the role sets
 * may lead to a schema with somebody's set_config or "=", which would run with the rights of this connection. SET
 * calls no function and looks up no name. Poolers such as PgBouncer refuse the startup parameter `options`, which
 * would do the same.
 */
export async function useSafePath(client: pg.ClientBase, schemas: string[] = []): Promise<void> {
  await client.query(setSearchPath(schemas));
}
