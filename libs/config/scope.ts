/** The schemas of snapshotd's own state. They are never part of a repository. */
export const OWN_SCHEMAS = { accounts: 'snapshotd', queue: 'snapshotd_queue' } as const;

/** The part of a database that is a repository. */
export interface Scope {
  /** Names of schemas; `*` for all but PostgreSQL's and snapshotd's own. */
  schemas: string[] | '*';
  /** Patterns of schemas that are no part of it. */
  excludeSchemas: string[];
  /** Patterns (`schema.table`) of tables that are no part of it. */
  excludeTables: string[];
  /** Patterns (`schema.table`) of tables whose definitions belong to it, without their rows. */
  excludeTableRows: string[];
}

/** Returns a scope without exclusions. */
export function scopeOf(schemas: Scope['schemas']): Scope {
  return { schemas, excludeSchemas: [], excludeTables: [], excludeTableRows: [] };
}

/** Splits a list of schemas at its commas. A piece that begins with a double quote ends with one. */
export function listedSchemas(text: string): string[] {
  return pieces(text, ',').map(({ piece }) => piece.trim());
}

/** Splits a list of tables at its commas. Each name that begins with a double quote ends with one. */
export function listedTables(text: string): string[] {
  const tables = [''];
  for (const { piece, end } of pieces(text, ',.')) {
    tables.push(`${tables.pop() ?? ''}${piece}${end === '.' ? '.' : ''}`);
    if (end === ',') tables.push('');
  }
  return tables.map((table) => table.trim());
}

/** Reads a name. One in double quotes means what is inside, with `""` for a quote, as in SQL. */
export function unquoted(piece: string): string {
  const text = piece.trim();
  return isQuoted(text) ? text.slice(1, -1).replaceAll('""', '"') : text;
}

/**
 * Translates a pattern of schemas into one of SQL's LIKE. An asterisk stands for any number of characters; in double
 * quotes every character means itself.
 */
export function schemaPattern(pattern: string): string {
  const literal = unquoted(pattern).replace(/[\\%_]/g, '\\$&');
  return isQuoted(pattern.trim()) ? literal : literal.replaceAll('*', '%');
}

/**
 * Translates a pattern of tables: those of the schema and of the table, with a dot between them.
 * @returns undefined if it does not have two parts
 */
export function tablePattern(pattern: string): { schema: string; name: string } | undefined {
  const [schema = '', name = '', ...rest] = pieces(pattern, '.').map(({ piece }) => schemaPattern(piece));
  return schema === '' || name === '' || rest.length > 0 ? undefined : { schema, name };
}

function isQuoted(text: string): boolean {
  return /^"(?:[^"]|"")*"$/.test(text);
}

/** Splits at separators that are not in double quotes. A quote counts at the beginning of a piece only. */
function pieces(text: string, separators: string): { piece: string; end: string }[] {
  const one = new RegExp(
    `(\\s*"(?:[^"]|"")*"\\s*(?=[${separators}]|$)|[^${separators}]*)([${separators}]|$)`,
    'g',
  );
  const found = [...text.matchAll(one)].map(([, piece = '', end = '']) => ({ piece, end }));
  // The last match is the empty one at the end, unless that is what follows the last separator.
  return found.slice(0, found.findIndex(({ end }) => end === '') + 1);
}
