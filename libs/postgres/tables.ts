import { Failure } from '#contracts';
import { displayTable, quoteIdentifier, quoteTable } from './identifiers.js';
import type { Session } from './session.js';

export interface Column {
  name: string;
  /** As format_type shows it, with an empty search_path: "character varying(10)", "other.mood". */
  type: string;
  notNull: boolean;
  /** Generated columns are recomputed by the server and never copied. */
  generated: boolean;
}

/** A table that holds rows of its own: a plain table or a partition, never a partitioned root. */
export interface Table {
  oid: number;
  schema: string;
  name: string;
  /** Bytes on disk with TOAST, without indexes. */
  bytes: number;
  /** In the order of the table's definition, dropped ones left out. */
  columns: Column[];
}

export interface Sequence {
  schema: string;
  name: string;
}

/** A sequence's state. It is no part of any snapshot: a sequence never goes back, not even on ROLLBACK. */
export interface SequenceState extends Sequence {
  /** As text: a bigint does not fit a JavaScript number. */
  lastValue: string;
  isCalled: boolean;
}

/**
 * The repository's tables, sorted by name: every table of the schemas that holds rows, but for temporary ones
 * and those that belong to an extension.
 * @throws Failure SCHEMA_MISSING, DATABASE_PERMISSION_DENIED naming all that is missing at once
 */
export async function listTables(session: Session, schemas: string[]): Promise<Table[]> {
  await checkSchemas(session, schemas);
  const rows = await session.query<Omit<Table, 'bytes'> & { bytes: string; readable: boolean }>(
    `SELECT c.oid::int8::float8 AS oid, n.nspname AS schema, c.relname AS name,
            pg_table_size(c.oid) AS bytes, has_table_privilege(c.oid, 'SELECT') AS readable,
            coalesce((SELECT json_agg(json_build_object(
                               'name', a.attname, 'type', format_type(a.atttypid, a.atttypmod),
                               'notNull', a.attnotnull, 'generated', a.attgenerated <> '') ORDER BY a.attnum)
                        FROM pg_attribute a
                       WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped), '[]') AS columns
       FROM pg_class c
       JOIN pg_namespace n ON n.oid = c.relnamespace
      WHERE n.nspname = ANY ($1) AND c.relkind = 'r' AND c.relpersistence <> 't'
        AND NOT EXISTS (SELECT FROM pg_depend d
                         WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
      ORDER BY n.nspname COLLATE "C", c.relname COLLATE "C"`,
    [schemas],
  );
  const unreadable = rows.filter((row) => !row.readable);
  if (unreadable.length > 0) throw await missingPrivilege(session, unreadable);
  return rows.map(({ oid, schema, name, bytes, columns }) => ({
    oid,
    schema,
    name,
    bytes: Number(bytes),
    columns,
  }));
}

async function checkSchemas(session: Session, schemas: string[]): Promise<void> {
  const rows = await session.query<{ name: string; usable: boolean }>(
    `SELECT nspname AS name, has_schema_privilege(oid, 'USAGE') AS usable FROM pg_namespace WHERE nspname = ANY ($1)`,
    [schemas],
  );
  const missing = schemas.filter((schema) => !rows.some(({ name }) => name === schema));
  if (missing.length > 0)
    throw new Failure(
      'SCHEMA_MISSING',
      'permanent',
      `The database ${session.server} has no schema ${missing.join(', ')}.`,
      { hint: 'Check REPOSITORY_SCHEMAS and the database in REPOSITORY_URL.' },
    );
  const closed = rows.filter(({ usable }) => !usable).map(({ name }) => name);
  if (closed.length > 0) {
    const role = await currentRole(session);
    throw new Failure(
      'DATABASE_PERMISSION_DENIED',
      'permanent',
      `The role ${role} may not use the schema ${closed.join(', ')}.`,
      {
        hint: `Run: GRANT USAGE ON SCHEMA ${closed.map(quoteIdentifier).join(', ')} TO ${quoteIdentifier(role)};`,
      },
    );
  }
}

async function missingPrivilege(
  session: Session,
  tables: { schema: string; name: string }[],
): Promise<Failure> {
  const role = await currentRole(session);
  return new Failure(
    'DATABASE_PERMISSION_DENIED',
    'permanent',
    `The role ${role} may not read ${tables.map(displayTable).join(', ')}: permission denied.`,
    { hint: `Run: GRANT SELECT ON ${tables.map(quoteTable).join(', ')} TO ${quoteIdentifier(role)};` },
  );
}

async function currentRole(session: Session): Promise<string> {
  const rows = await session.query<{ role: string }>('SELECT current_user AS role');
  return rows[0]?.role ?? '';
}

/** The repository's sequences with their present states, sorted by name. */
export async function readSequences(session: Session, schemas: string[]): Promise<SequenceState[]> {
  const sequences = await session.query<Sequence>(
    `SELECT n.nspname AS schema, c.relname AS name
       FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
      WHERE n.nspname = ANY ($1) AND c.relkind = 'S' AND c.relpersistence <> 't'
        AND NOT EXISTS (SELECT FROM pg_depend d
                         WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
      ORDER BY n.nspname COLLATE "C", c.relname COLLATE "C"`,
    [schemas],
  );
  const states: SequenceState[] = [];
  for (const sequence of sequences) {
    const rows = await session.query<{ lastValue: string; isCalled: boolean }>(
      `SELECT last_value AS "lastValue", is_called AS "isCalled" FROM ${quoteTable(sequence)}`,
    );
    for (const state of rows) states.push({ ...sequence, ...state });
  }
  return states;
}

/** Counting more rows than this costs more than an exact total is worth. */
const COUNT_LIMIT = 1_000_000;

/**
 * How many rows the tables hold in this transaction's snapshot: exact up to a million, smallest tables first,
 * and the planner's estimate for what would go beyond.
 * @returns rows by the table's OID
 */
export async function countRows(session: Session, tables: Table[]): Promise<Map<number, number>> {
  const counts = new Map<number, number>();
  let left = COUNT_LIMIT;
  for (const table of tables.toSorted((a, b) => a.bytes - b.bytes)) {
    let rows = left > 0 ? await countUpTo(session, table, left + 1) : Infinity;
    if (rows > left) {
      left = 0;
      rows = await estimateRows(session, table);
    } else {
      left -= rows;
    }
    counts.set(table.oid, rows);
  }
  return counts;
}

async function countUpTo(session: Session, table: Table, limit: number): Promise<number> {
  const rows = await session.query<{ count: string }>(
    `SELECT count(*) FROM (SELECT FROM ONLY ${quoteTable(table)} LIMIT ${limit}) AS counted`,
  );
  return Number(rows[0]?.count ?? 0);
}

/** The planner looks at the table's present size, so this is good even where ANALYZE never ran. */
async function estimateRows(session: Session, table: Table): Promise<number> {
  const rows = await session.query<{ 'QUERY PLAN': [{ Plan: { 'Plan Rows': number } }] }>(
    `EXPLAIN (FORMAT JSON) SELECT FROM ONLY ${quoteTable(table)}`,
  );
  return rows[0]?.['QUERY PLAN'][0].Plan['Plan Rows'] ?? 0;
}
