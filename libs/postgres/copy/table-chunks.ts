import type { Table } from '../catalog/tables.js';

/** The rows of a table that one COPY reads: those of a range of blocks, or all. */
export interface Chunk {
  table: Table;
  /** From 1 within its table. */
  number: number;
  /** Missing if the chunk is the whole table. */
  blocks?: {
    first: number;
    /** The first block after it; missing in the table's last chunk. */ end?: number;
  };
  /** Of an extension's configuration table: the condition that names its rows, which may be empty. */
  condition?: string;
  /** Of a whole table: the bytes of CSV after which the next row begins another entry. */
  entryBytes?: number;
}

/** The size of a chunk on disk, and of an entry as CSV: small enough for every session to hold one in memory. */
export const CHUNK_BYTES = 4 * 1024 * 1024;
/** The most chunks of a backup; beyond that, chunks grow. A manifest has about 250 bytes for each. */
const MAX_CHUNKS = 100_000;

/**
 * Divides tables into chunks, the largest table first, so that parallel sessions finish at about the same time. A large
 * table that a query may name (see {@link listPlannable}) becomes ranges of blocks, which several sessions read under
 * one snapshot. Every other table is one chunk. The ranges depend on the tables alone, not on the sessions. The last
 * range has no end, so that a size that was read too early loses no row.
 * https://www.postgresql.org/docs/current/ddl-system-columns.html (ctid)
 * @param plannable the OIDs of the tables that a query may name
 */
export function planChunks(
  tables: Table[],
  plannable: ReadonlySet<number>,
  wantedBytes = CHUNK_BYTES,
): Chunk[] {
  const total = tables.reduce((bytes, table) => bytes + table.bytes, 0);
  const chunkBytes = Math.max(wantedBytes, total / MAX_CHUNKS);
  const largestFirst = tables.toSorted((one, other) => other.bytes - one.bytes);
  return largestFirst.flatMap((table): Chunk[] => {
    const { bytes, blocks = 0 } = table;
    const wanted = Math.max(1, Math.round(bytes / chunkBytes));
    const step = Math.max(1, Math.ceil(blocks / wanted));
    const count = Math.ceil(blocks / step);
    if (wanted === 1 || count <= 1 || !plannable.has(table.oid))
      return [{ table, number: 1, entryBytes: chunkBytes }];
    return Array.from({ length: count }, (_, index): Chunk => {
      const number = index + 1;
      const first = index * step;
      return { table, number, blocks: number < count ? { first, end: first + step } : { first } };
    });
  });
}

/** The chunk of an extension's configuration table. Its entries have the same cuts in every backup. */
export function configurationChunk(table: Table & { condition: string }): Chunk {
  return { table, number: 1, condition: table.condition, entryBytes: CHUNK_BYTES };
}

/** Up to this size a table takes less time to read than a round trip. */
const SMALL_TABLE_BYTES = 64 * 1024;
/** The most chunks in one round trip. */
const CHUNKS_AT_ONCE = 50;

/** Groups successive chunks of small tables, each group for one round trip. */
export function groupChunks(chunks: Chunk[]): Chunk[][] {
  const groups: Chunk[][] = [];
  let open: Chunk[] | undefined;
  for (const chunk of chunks) {
    const { table, blocks } = chunk;
    const small = blocks === undefined && table.blocks !== undefined && table.bytes <= SMALL_TABLE_BYTES;
    if (small && open !== undefined && open.length < CHUNKS_AT_ONCE) open.push(chunk);
    else {
      const group = [chunk];
      groups.push(group);
      open = small ? group : undefined;
    }
  }
  return groups;
}
