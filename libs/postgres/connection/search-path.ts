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
