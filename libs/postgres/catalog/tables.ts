import { Failure } from '#common';
import { displayTable, quoteIdentifier, quoteTable, type Relation } from '../connection/identifiers.js';
import { checkNamesInUtf8 } from './names-in-utf8.js';
import type { Session } from '../connection/session.js';

export interface Column {
  name: string;
  /** As format_type shows it, with an empty search_path: "character varying(10)", "other.mood". */
  type: string;
  notNull: boolean;
  /** The server recomputes generated columns, so they are not copied. */
  generated: boolean;
}

/** A table that holds rows: a plain table or a partition, never a partitioned root. */
export interface NamedTable extends Relation {
  oid: number;
}

export interface TableSize {
  /** Bytes on disk with TOAST, without indexes. */
  bytes: number;
  /** Blocks of its heap; missing if the table is not a heap, and so cannot be read by blocks. */
  blocks?: number;
  /** From statistics, or from size and column widths if neither VACUUM nor ANALYZE has run. */
  estimatedRows: number;
}

/** A table with the facts that a backup needs. */
export interface Table extends NamedTable, TableSize {
  /** In the order of the table's definition, without dropped ones. */
  columns: Column[];
  /** The partitioned tables above it, the nearest first. */
  partitionOf: Relation[];
}

/** Bytes that PostgreSQL's planner assumes for a table without statistics (estimate_rel_size in plancat.c). */
const [BLOCK_HEADER_BYTES, ROW_HEADER_BYTES, USUAL_WIDTH] = [24, 28, 32];

/** SQL: the estimated rows per block of the table `c` of pg_class. */
export const ROWS_PER_BLOCK = `
            CASE WHEN c.reltuples >= 0 AND c.relpages > 0 THEN c.reltuples::float8 / c.relpages
                 ELSE (current_setting('block_size')::float8 - ${BLOCK_HEADER_BYTES}) /
                      (SELECT ${ROW_HEADER_BYTES} + coalesce(sum(CASE WHEN t.typlen > 0 THEN t.typlen ELSE ${USUAL_WIDTH} END), 0)
                         FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
                        WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) END`;

/** SQL: the OIDs of the tables $1 and of the partitioned tables above them, which hold no rows but keys and triggers. */
export const TABLES_AND_ROOTS = `(SELECT unnest($1::oid[]) UNION SELECT a.relid FROM unnest($1::oid[]) AS t (oid), pg_partition_ancestors(t.oid) AS a)`;

/** SQL: true if the relation `c` of pg_class belongs to an extension. */
export const OF_EXTENSION = `EXISTS (SELECT FROM pg_depend d
                         WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')`;
/**
 * SQL: the relations `c` of the schemas $1 that a backup holds. Omits temporary ones and those of extensions, and on a
 * standby unlogged ones, whose rows it never gets.
 * https://www.postgresql.org/docs/current/hot-standby.html#HOT-STANDBY-CAVEATS
 * @param kind pg_class.relkind: tables or sequences
 */
export const inRepository = (kind: 'r' | 'S') => `pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
      WHERE n.nspname = ANY ($1) AND c.relkind = '${kind}' AND NOT ${OF_EXTENSION}
        AND (c.relpersistence = 'p' OR c.relpersistence = 'u' AND NOT pg_is_in_recovery())`;
/** SQL: the columns of the table `c` of pg_class, as JSON. */
export const COLUMNS = `coalesce((SELECT json_agg(json_build_object(
                               'name', a.attname, 'type', format_type(a.atttypid, a.atttypmod),
                               'notNull', a.attnotnull, 'generated', a.attgenerated <> '') ORDER BY a.attnum)
                        FROM pg_attribute a
                       WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped), '[]')`;
export const BY_NAME = 'ORDER BY n.nspname COLLATE "C", c.relname COLLATE "C"';

/**
 * Lists the repository's tables by name only, after checking that the role can read all of their rows.
 * @throws Failure SCHEMA_MISSING, NAMES_NOT_UTF8, DATABASE_PERMISSION_DENIED, ROW_SECURITY, naming all tables concerned
 */
export async function listReadableTables(session: Session, schemas: string[]): Promise<NamedTable[]> {
  await checkSchemas(session, schemas);
  await checkNamesInUtf8(session, schemas);
  const rows = await session.query<NamedTable & { readable: boolean; hidden: boolean }>(
    `SELECT c.oid::int8::float8 AS oid, n.nspname AS schema, c.relname AS name,
            has_table_privilege(c.oid, 'SELECT') IS NOT FALSE AS readable, row_security_active(c.oid) AS hidden
       FROM ${inRepository('r')} ${BY_NAME}`,
    [schemas],
  );
  const unreadable = rows.filter((row) => !row.readable);
  if (unreadable.length > 0) throw await missingPrivilege(session, unreadable);
  const hidden = rows.filter((row) => row.hidden);
  if (hidden.length > 0) throw await hiddenRows(session, hidden);
  return rows.map(({ oid, schema, name }) => ({ oid, schema, name }));
}

/**
 * Lists the repository's tables, sorted by name.
 * @throws Failure SCHEMA_MISSING, NAMES_NOT_UTF8, DATABASE_PERMISSION_DENIED
 */
export async function listTables(session: Session, schemas: string[]): Promise<Table[]> {
  await checkSchemas(session, schemas);
  await checkNamesInUtf8(session, schemas);
  const rows = await session.query<Omit<Table, keyof TableSize> & MeasuredSize>(
    `SELECT c.oid::int8::float8 AS oid, n.nspname AS schema, c.relname AS name,
            c.relam = (SELECT oid FROM pg_am WHERE amname = 'heap') AS "isHeap",
            pg_relation_size(c.oid)::float8 AS "heapBytes",
            coalesce(pg_relation_size(nullif(c.reltoastrelid, 0)), 0)::float8 AS "toastBytes",
            current_setting('block_size')::int AS "blockBytes",
            ${ROWS_PER_BLOCK} AS "rowsPerBlock",
            CASE WHEN c.relispartition THEN
              (SELECT json_agg(json_build_object('schema', pn.nspname, 'name', p.relname) ORDER BY above.number)
                 FROM pg_partition_ancestors(c.oid) WITH ORDINALITY AS above (oid, number)
                 JOIN pg_class p ON p.oid = above.oid JOIN pg_namespace pn ON pn.oid = p.relnamespace
                WHERE p.oid <> c.oid)
            ELSE '[]' END AS "partitionOf",
            ${COLUMNS} AS columns
       FROM ${inRepository('r')} ${BY_NAME}`,
    [schemas],
  );
  return rows.map(({ isHeap, heapBytes, toastBytes, blockBytes, rowsPerBlock, ...table }) => {
    const blocks = heapBytes / blockBytes;
    const size = { bytes: heapBytes + toastBytes, estimatedRows: Math.round(rowsPerBlock * blocks) };
    return { ...table, ...size, ...(isHeap && { blocks }) };
  });
}

interface MeasuredSize {
  isHeap: boolean;
  heapBytes: number;
  toastBytes: number;
  blockBytes: number;
  rowsPerBlock: number;
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

async function missingPrivilege(session: Session, tables: Relation[]): Promise<Failure> {
  const role = await currentRole(session);
  return new Failure(
    'DATABASE_PERMISSION_DENIED',
    'permanent',
    `The role ${role} may not read ${tables.map(displayTable).join(', ')}: permission denied.`,
    { hint: `Run: GRANT SELECT ON ${tables.map(quoteTable).join(', ')} TO ${quoteIdentifier(role)};` },
  );
}

/** A policy hides rows without an error, so that an archive without them would look complete. */
async function hiddenRows(session: Session, tables: Relation[]): Promise<Failure> {
  const role = await currentRole(session);
  return new Failure(
    'ROW_SECURITY',
    'permanent',
    `Row security may hide rows of ${tables.map(displayTable).join(', ')} from the role ${role}.`,
    { hint: `Have a superuser run: ALTER ROLE ${quoteIdentifier(role)} BYPASSRLS;` },
  );
}

async function currentRole(session: Session): Promise<string> {
  const rows = await session.query<{ role: string }>('SELECT current_user AS role');
  return rows[0]?.role ?? '';
}
