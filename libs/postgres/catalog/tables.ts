import type { Relation } from '../connection/identifiers.js';
import type { Members } from './members.js';
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
const ROWS_PER_BLOCK = `
            CASE WHEN c.reltuples >= 0 AND c.relpages > 0 THEN c.reltuples::float8 / c.relpages
                 ELSE (current_setting('block_size')::float8 - ${BLOCK_HEADER_BYTES}) /
                      (SELECT ${ROW_HEADER_BYTES} + coalesce(sum(CASE WHEN a.attlen > 0 THEN a.attlen ELSE ${USUAL_WIDTH} END), 0)
                         FROM pg_attribute a
                        WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) END`;

/** SQL: the OIDs of the tables $1 and of the partitioned tables above them, which hold no rows but keys and triggers. */
export const TABLES_AND_ROOTS = `(SELECT unnest($1::oid[]) UNION SELECT a.relid FROM unnest($1::oid[]) AS t (oid), pg_partition_ancestors(t.oid) AS a)`;

/**
 * SQL: those of the relations $1 whose contents a backup holds, as `c`. Omits unlogged ones on a standby, which never
 * gets their rows.
 * https://www.postgresql.org/docs/current/hot-standby.html#HOT-STANDBY-CAVEATS
 * @param kind pg_class.relkind: tables or sequences
 */
export const inRepository = (kind: 'r' | 'S') => `pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
      WHERE c.oid = ANY ($1::oid[]) AND c.relkind = '${kind}'
        AND (c.relpersistence = 'p' OR c.relpersistence = 'u' AND NOT pg_is_in_recovery())`;
/** SQL: the columns of the table `c` of pg_class, as JSON. */
export const COLUMNS = `coalesce((SELECT json_agg(json_build_object(
                               'name', a.attname, 'type', format_type(a.atttypid, a.atttypmod),
                               'notNull', a.attnotnull, 'generated', a.attgenerated <> '') ORDER BY a.attnum)
                        FROM pg_attribute a
                       WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped), '[]')`;
export const BY_NAME = 'ORDER BY n.nspname COLLATE "C", c.relname COLLATE "C"';

/** Lists the tables among the members by name only, sorted by name. */
export function nameTables(
  session: Session,
  { relations }: Pick<Members, 'relations'>,
): Promise<NamedTable[]> {
  return session.query<NamedTable>(
    `SELECT c.oid::int8::float8 AS oid, n.nspname AS schema, c.relname AS name
       FROM ${inRepository('r')} ${BY_NAME}`,
    [relations],
  );
}

/** Lists the tables among the members, sorted by name. */
export async function listTables(
  session: Session,
  { relations }: Pick<Members, 'relations'>,
): Promise<Table[]> {
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
    [relations],
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
