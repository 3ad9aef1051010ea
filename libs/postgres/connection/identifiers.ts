/**
 * The one place where names and texts from outside become part of SQL. PostgreSQL's quoting rules:
 * https://www.postgresql.org/docs/current/sql-syntax-lexical.html#SQL-SYNTAX-IDENTIFIERS
 */
export function quoteIdentifier(name: string): string {
  if (name.includes('\0')) throw new TypeError('A PostgreSQL name cannot hold a NUL character');
  return `"${name.replaceAll('"', '""')}"`;
}

/** A table as SQL names it: both parts quoted, so that it means the same under any search_path. */
export function quoteTable({ schema, name }: { schema: string; name: string }): string {
  return `${quoteIdentifier(schema)}.${quoteIdentifier(name)}`;
}

/** A text as a SQL literal, for the few statements that take no parameters. Needs standard_conforming_strings. */
export function quoteLiteral(text: string): string {
  if (text.includes('\0')) throw new TypeError('A PostgreSQL text cannot hold a NUL character');
  return `'${text.replaceAll("'", "''")}'`;
}

/** A table as people and manifests name it; for messages, never for SQL. */
export function displayTable({ schema, name }: { schema: string; name: string }): string {
  return `${schema}.${name}`;
}

/** The statement that says a comment again, where there was one. @param object as SQL names it, with its kind */
export function commentOn(object: string, comment: string | null): string[] {
  return comment === null ? [] : [`COMMENT ON ${object} IS ${quoteLiteral(comment)}`];
}
