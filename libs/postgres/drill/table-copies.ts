import { Failure } from '#common';
import { quoteIdentifier, quoteTable } from '../connection/identifiers.js';
import type { Session } from '../connection/session.js';
import { type TrustedPath, underPath } from '../catalog/trusted-path.js';

interface Relation {
  schema: string;
  name: string;
}

export interface ScratchTable {
  like: Relation & { oid: number };
  scratch: Relation;
}

/** What copies go without. */
export interface Without {
  /** Indexes of the live tables, by their OIDs. */
  indexes: { oid: number }[];
  /** Columns of the live tables that are generated there, and in the copies not. */
  columns: { relation: number; name: string }[];
}

/**
 * The statements that make empty tables like others, and their schemas where they are missing: with columns,
 * generated columns, keys, indexes, statistics and comments. Not with what would tie the copy to the live
 * tables or refuse old rows: defaults and identities (they draw from live sequences), checks, foreign keys,
 * triggers, policies and rights.
 * https://www.postgresql.org/docs/current/sql-createtable.html#SQL-CREATETABLE-PARMS-LIKE
 */
export function scratchTableStatements(copies: ScratchTable[], missing: string[]): string[] {
  return [...missing.map(createSchema), ...copies.map(createScratchTable)];
}

function createSchema(schema: string): string {
  return `CREATE SCHEMA ${quoteIdentifier(schema)}`;
}

function createScratchTable({ like, scratch: copy }: ScratchTable): string {
  return `CREATE TABLE ${quoteTable(copy)} (LIKE ${quoteTable(like)} INCLUDING ALL EXCLUDING DEFAULTS EXCLUDING IDENTITY EXCLUDING CONSTRAINTS)`;
}

/** Those of the copies' schemas that are to be made. */
export async function missingSchemas(session: Session, copies: ScratchTable[]): Promise<string[]> {
  const rows = await session.query<{ name: string }>(
    `SELECT DISTINCT name FROM unnest($1::text[]) AS wanted (name)
      WHERE NOT EXISTS (SELECT FROM pg_namespace WHERE nspname = name)`,
    [copies.map(({ scratch: copy }) => copy.schema)],
  );
  return rows.map(({ name }) => name);
}

/**
 * Makes the copies, empty. Creating an index evaluates calls with constants in its expressions, so this runs under the
 * table's trusted path. The path does not change what the expressions call: LIKE copies them parsed, not as text.
 * @throws Failure of PostgreSQL, such as for a table that exists already
 */
export async function createCopies(
  session: Session,
  copies: ScratchTable[],
  paths: Map<number, TrustedPath>,
  without: Without,
): Promise<void> {
  for (const schema of await missingSchemas(session, copies)) await session.query(createSchema(schema));
  for (const copy of copies)
    await underPath(session, paths.get(copy.like.oid), () => session.query(createScratchTable(copy)));
  await dropIndexes(session, copies, without);
  for (const { relation, name } of without.columns) {
    const copy = copies.find(({ like }) => like.oid === relation)?.scratch;
    const column = quoteIdentifier(name);
    if (copy !== undefined)
      await session.query(
        `ALTER TABLE ${quoteTable(copy)} ALTER ${column} DROP EXPRESSION, ALTER ${column} DROP NOT NULL`,
      );
  }
  // NOT NULL comes along with a column. From PostgreSQL 18 on it may be one that was never validated, which
  // old rows may break.
  const unvalidated = await session.query<{ number: number; column: string }>(
    `SELECT likes.number::int, a.attname AS column
       FROM unnest($1::text[]) WITH ORDINALITY AS likes (name, number)
       JOIN pg_constraint k ON k.conrelid = likes.name::regclass AND k.contype = 'n' AND NOT k.convalidated
       JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = k.conkey[1]`,
    [copies.map(({ like }) => quoteTable(like))],
  );
  for (const { number, column } of unvalidated) {
    const copy = copies[number - 1]?.scratch;
    if (copy !== undefined)
      await session.query(`ALTER TABLE ${quoteTable(copy)} ALTER ${quoteIdentifier(column)} DROP NOT NULL`);
  }
}

/**
 * Drops the copies of these indexes, of those over columns that stay empty, and of those that are not valid: LIKE makes valid ones of them, and the rows may be
 * what they had failed for.
 */
async function dropIndexes(
  session: Session,
  copies: ScratchTable[],
  { indexes, columns }: Without,
): Promise<void> {
  const definition = `ARRAY[x.indisunique::text, pg_get_expr(x.indpred, x.indrelid)]
    || ARRAY(SELECT pg_get_indexdef(x.indexrelid, n, true) FROM generate_series(1, x.indnatts) AS n)`;
  const twins = await session.query<{ table: string; name: string; constraint: string | null }>(
    `WITH likes (oid, copy) AS (SELECT * FROM unnest($1::oid[], $2::regclass[])),
          live AS (SELECT copy, ${definition} AS definition, x.indisvalid AND x.indisready AND x.indexrelid <> ALL ($3::oid[])
                         AND NOT EXISTS (SELECT FROM unnest($4::oid[], $5::text[]) AS empty (relation, name)
                                           JOIN pg_attribute a ON a.attrelid = empty.relation AND a.attname = empty.name
                                          WHERE a.attrelid = x.indrelid AND a.attnum = ANY (x.indkey)) AS kept
                     FROM likes JOIN pg_index x ON x.indrelid = likes.oid WHERE x.indislive)
     SELECT x.indrelid::regclass::text AS table, x.indexrelid::regclass::text AS name, k.conname AS constraint
       FROM pg_index x JOIN likes ON likes.copy = x.indrelid
       LEFT JOIN pg_constraint k ON k.conindid = x.indexrelid AND k.conrelid = x.indrelid
      WHERE EXISTS (SELECT FROM live WHERE copy = x.indrelid AND NOT kept AND definition = ${definition})
        AND NOT EXISTS (SELECT FROM live WHERE copy = x.indrelid AND kept AND definition = ${definition})`,
    [
      copies.map(({ like }) => like.oid),
      copies.map(({ scratch: copy }) => quoteTable(copy)),
      indexes.map(({ oid }) => oid),
      columns.map(({ relation }) => relation),
      columns.map(({ name }) => name),
    ],
  );
  for (const { table, name, constraint } of twins)
    await session.query(
      constraint === null
        ? `DROP INDEX ${name}`
        : `ALTER TABLE ${table} DROP CONSTRAINT ${quoteIdentifier(constraint)}`,
    );
}

/**
 * Whether these tables can be made, and their schemas where they are missing.
 * @throws Failure DESTINATION_REFUSED when one is there already; DATABASE_PERMISSION_DENIED naming all that is
 * missing at once, with what helps
 */
export async function checkMayCreate(session: Session, copies: Relation[]): Promise<void> {
  const taken = await session.query<{ name: string }>(
    'SELECT name FROM unnest($1::text[]) AS wanted (name) WHERE to_regclass(name) IS NOT NULL',
    [copies.map(quoteTable)],
  );
  if (taken.length > 0)
    throw new Failure(
      'DESTINATION_REFUSED',
      'permanent',
      `There are tables ${taken.map(({ name }) => name).join(', ')} already.`,
      { hint: 'Nothing was changed. Drop them, or restore into them as they are, without "create".' },
    );
  const schemas = [...new Set(copies.map(({ schema }) => schema))];
  const closed = await session.query<{ role: string; database: string; schema: string; there: boolean }>(
    `SELECT current_user AS role, current_database() AS database, wanted.name AS schema, n.oid IS NOT NULL AS there
       FROM unnest($1::text[]) AS wanted (name) LEFT JOIN pg_namespace n ON n.nspname = wanted.name
      WHERE CASE WHEN n.oid IS NULL THEN NOT has_database_privilege(current_database(), 'CREATE')
                 ELSE NOT has_schema_privilege(n.oid, 'CREATE') END`,
    [schemas],
  );
  const [first] = closed;
  if (first === undefined) return;
  const role = quoteIdentifier(first.role);
  const existing = closed.filter(({ there }) => there).map(({ schema }) => quoteIdentifier(schema));
  const grants = [
    ...(existing.length < closed.length
      ? [`GRANT CREATE ON DATABASE ${quoteIdentifier(first.database)} TO ${role};`]
      : []),
    ...(existing.length > 0 ? [`GRANT CREATE ON SCHEMA ${existing.join(', ')} TO ${role};`] : []),
  ];
  throw new Failure(
    'DATABASE_PERMISSION_DENIED',
    'permanent',
    `The role ${first.role} may not make tables in ${closed.map(({ schema }) => schema).join(', ')}.`,
    { hint: `Run: ${grants.join(' ')}` },
  );
}
