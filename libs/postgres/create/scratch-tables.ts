import { Failure } from '#common';
import { quoteIdentifier, quoteTable, type Relation } from '../connection/identifiers.js';
import type { Session } from '../connection/session.js';
import { type TrustedPath, underPath } from '../trust/trusted-path.js';

/** An empty table that a restore beside the live tables fills. */
export interface ScratchTable {
  /** The live table. */
  like: Relation & { oid: number };
  scratch: Relation;
}

/**
 * Returns the statements that create scratch tables and missing schemas: with columns, generated columns, keys, indexes,
 * statistics and comments. They omit objects that depend on the live tables or could refuse old rows: defaults and
 * identities (they draw from live sequences), checks, foreign keys, triggers, policies and rights.
 * https://www.postgresql.org/docs/current/sql-createtable.html#SQL-CREATETABLE-PARMS-LIKE
 */
export function scratchTableStatements(tables: ScratchTable[], missing: string[]): string[] {
  return [...missing.map(createSchema), ...tables.map(createScratchTable)];
}

/** Returns the statement that creates a schema. */
export function createSchema(schema: string): string {
  return `CREATE SCHEMA ${quoteIdentifier(schema)}`;
}

function createScratchTable({ like, scratch }: ScratchTable): string {
  return `CREATE TABLE ${quoteTable(scratch)} (LIKE ${quoteTable(like)} INCLUDING ALL EXCLUDING DEFAULTS EXCLUDING IDENTITY EXCLUDING CONSTRAINTS)`;
}

/** Lists the scratch tables' schemas that do not exist. */
export async function missingSchemas(
  session: Session,
  tables: Pick<ScratchTable, 'scratch'>[],
): Promise<string[]> {
  const rows = await session.query<{ name: string }>(
    `SELECT DISTINCT name FROM unnest($1::text[]) AS wanted (name)
      WHERE NOT EXISTS (SELECT FROM pg_namespace WHERE nspname = name)`,
    [tables.map(({ scratch }) => scratch.schema)],
  );
  return rows.map(({ name }) => name);
}

/**
 * Creates scratch tables. Creating an index evaluates calls with constants in its expressions, so this runs under the
 * table's trusted path. The expressions call the same functions under any path: LIKE copies them parsed, not as text.
 * @throws Failure of PostgreSQL, such as for a table that exists
 */
export async function createScratchTables(
  session: Session,
  tables: ScratchTable[],
  paths: Map<number, TrustedPath>,
): Promise<void> {
  for (const schema of await missingSchemas(session, tables)) await session.query(createSchema(schema));
  for (const table of tables)
    await underPath(session, paths.get(table.like.oid), () => session.query(createScratchTable(table)));
  await dropInvalidIndexes(session, tables);
  // LIKE copies NOT NULL. From PostgreSQL 18 on it may never have been validated, so that old rows may violate it.
  const unvalidated = await session.query<{ number: number; column: string }>(
    `SELECT likes.number::int, a.attname AS column
       FROM unnest($1::text[]) WITH ORDINALITY AS likes (name, number)
       JOIN pg_constraint k ON k.conrelid = likes.name::regclass AND k.contype = 'n' AND NOT k.convalidated
       JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = k.conkey[1]`,
    [tables.map(({ like }) => quoteTable(like))],
  );
  for (const { number, column } of unvalidated) {
    const scratch = tables[number - 1]?.scratch;
    if (scratch !== undefined)
      await session.query(
        `ALTER TABLE ${quoteTable(scratch)} ALTER ${quoteIdentifier(column)} DROP NOT NULL`,
      );
  }
}

/** Drops the copies of invalid indexes. LIKE makes valid ones, which may refuse the rows for which they failed. */
async function dropInvalidIndexes(session: Session, tables: ScratchTable[]): Promise<void> {
  const definition = `ARRAY[x.indisunique::text, pg_get_expr(x.indpred, x.indrelid)]
    || ARRAY(SELECT pg_get_indexdef(x.indexrelid, n, true) FROM generate_series(1, x.indnatts) AS n)`;
  const twins = await session.query<{ table: string; name: string; constraint: string | null }>(
    `WITH likes (oid, scratch) AS (SELECT * FROM unnest($1::oid[], $2::regclass[])),
          live AS (SELECT scratch, ${definition} AS definition, x.indisvalid AND x.indisready AS kept
                     FROM likes JOIN pg_index x ON x.indrelid = likes.oid WHERE x.indislive)
     SELECT x.indrelid::regclass::text AS table, x.indexrelid::regclass::text AS name, k.conname AS constraint
       FROM pg_index x JOIN likes ON likes.scratch = x.indrelid
       LEFT JOIN pg_constraint k ON k.conindid = x.indexrelid AND k.conrelid = x.indrelid
      WHERE EXISTS (SELECT FROM live WHERE scratch = x.indrelid AND NOT kept AND definition = ${definition})
        AND NOT EXISTS (SELECT FROM live WHERE scratch = x.indrelid AND kept AND definition = ${definition})`,
    [tables.map(({ like }) => like.oid), tables.map(({ scratch }) => quoteTable(scratch))],
  );
  for (const { table, name, constraint } of twins)
    await session.query(
      constraint === null
        ? `DROP INDEX ${name}`
        : `ALTER TABLE ${table} DROP CONSTRAINT ${quoteIdentifier(constraint)}`,
    );
}

/**
 * Checks that the role can create these tables and their missing schemas.
 * @throws Failure DESTINATION_REFUSED if one exists; DATABASE_PERMISSION_DENIED with the grants to run
 */
export async function checkMayCreate(session: Session, tables: Relation[]): Promise<void> {
  const taken = await session.query<{ name: string }>(
    'SELECT name FROM unnest($1::text[]) AS wanted (name) WHERE to_regclass(name) IS NOT NULL',
    [tables.map(quoteTable)],
  );
  if (taken.length > 0)
    throw new Failure(
      'DESTINATION_REFUSED',
      'permanent',
      `Cannot create tables that exist: ${taken.map(({ name }) => name).join(', ')}.`,
      { hint: 'Nothing was changed. Drop them, or restore into them without "create".' },
    );
  const schemas = [...new Set(tables.map(({ schema }) => schema))];
  const closed = await session.query<{ role: string; database: string; schema: string; exists: boolean }>(
    `SELECT current_user AS role, current_database() AS database, wanted.name AS schema, n.oid IS NOT NULL AS exists
       FROM unnest($1::text[]) AS wanted (name) LEFT JOIN pg_namespace n ON n.nspname = wanted.name
      WHERE CASE WHEN n.oid IS NULL THEN NOT has_database_privilege(current_database(), 'CREATE')
                 ELSE NOT has_schema_privilege(n.oid, 'CREATE') END`,
    [schemas],
  );
  const [first] = closed;
  if (first === undefined) return;
  const role = quoteIdentifier(first.role);
  const existing = closed.filter(({ exists }) => exists).map(({ schema }) => quoteIdentifier(schema));
  const grants = [
    ...(existing.length < closed.length
      ? [`GRANT CREATE ON DATABASE ${quoteIdentifier(first.database)} TO ${role};`]
      : []),
    ...(existing.length > 0 ? [`GRANT CREATE ON SCHEMA ${existing.join(', ')} TO ${role};`] : []),
  ];
  throw new Failure(
    'DATABASE_PERMISSION_DENIED',
    'permanent',
    `The role ${first.role} may not create tables in ${closed.map(({ schema }) => schema).join(', ')}.`,
    { hint: `Run: ${grants.join(' ')}` },
  );
}
