/** A table, sequence or view, by name. */
export interface Relation {
  schema: string;
  name: string;
}

/**
 * Quotes a name for SQL. Names and texts from outside become part of SQL in this file only. PostgreSQL's quoting rules:
 * https://www.postgresql.org/docs/current/sql-syntax-lexical.html#SQL-SYNTAX-IDENTIFIERS
 */
export function quoteIdentifier(name: string): string {
  if (name.includes('\0')) throw new TypeError('A PostgreSQL name cannot hold a NUL character');
  return `"${name.replaceAll('"', '""')}"`;
}

/** Quotes a relation for SQL: schema and name, so that it means the same under any search_path. */
export function quoteTable({ schema, name }: Relation): string {
  return `${quoteIdentifier(schema)}.${quoteIdentifier(name)}`;
}

/** Quotes a text as a SQL literal, for the few statements without parameters. Needs standard_conforming_strings. */
export function quoteLiteral(text: string): string {
  if (text.includes('\0')) throw new TypeError('A PostgreSQL text cannot hold a NUL character');
  return `'${text.replaceAll("'", "''")}'`;
}

/** Names a relation in messages and manifests, never in SQL. */
export function displayTable({ schema, name }: Relation): string {
  return `${schema}.${name}`;
}

/** Returns the statement that sets a comment, if there is one. @param object kind and quoted name */
export function commentOn(object: string, comment: string | null): string[] {
  return comment === null ? [] : [`COMMENT ON ${object} IS ${quoteLiteral(comment)}`];
}

/**
 * Returns the statement that makes unqualified names mean PostgreSQL's own objects, then those of the given schemas. It
 * lists the schema of temporary objects last: an unlisted one comes first for tables and types.
 * https://www.postgresql.org/docs/current/runtime-config-client.html#GUC-SEARCH-PATH
 */
export function setSearchPath(schemas: string[] = []): string {
  const path = schemas.filter((schema) => !['pg_catalog', 'pg_temp'].includes(schema)).map(quoteIdentifier);
  return `SET search_path TO ${['pg_catalog', ...path, 'pg_temp'].join(', ')}`;
}
