import type { Table } from '../catalog/tables.js';

/** A part of a table's rows that one COPY reads: a range of its blocks, or all of it. */
export interface Chunk {
  table: Table;
  /** From 1 within its table. */
  number: number;
  /** Missing where the chunk is the whole table. */
  blocks?: { first: number; /** The first one after it; missing at the table's open end. */ end?: number };
  /** Of a whole table: bytes of CSV after which a new entry begins, at a row. */
  partBytes?: number;
}

/** Bytes that make a chunk, on disk, or an entry, as CSV: small enough to be held in memory by every session. */
export const CHUNK_BYTES = 4 * 1024 * 1024;
/** All in all; beyond, chunks grow. A manifest has about 250 bytes for each. */
const MAX_CHUNKS = 100_000;

/**
 * Decides how tables are read, the largest first, so that sessions that read side by side end at about the same
 * time. A large table that may be planned (see {@link listPlannable}) is cut into ranges of blocks, which any number
 * of sessions can read under one snapshot; every other table is read by one COPY. Where the cuts are depends on the
 * tables alone, not on who reads them. A table's last range has no end: rows that came after its size was looked at
 * belong to no snapshot that is older, and a size that was read too early loses none.
 * https://www.postgresql.org/docs/current/ddl-system-columns.html (ctid)
 * @param plannable the OIDs of tables whose blocks may be asked for
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
      return [{ table, number: 1, partBytes: chunkBytes }];
    return Array.from({ length: count }, (_, index): Chunk => {
      const number = index + 1;
      const first = index * step;
      return { table, number, blocks: number < count ? { first, end: first + step } : { first } };
    });
  });
}

/** A table that is no longer takes no longer to read than to ask for. */
const SMALL_TABLE_BYTES = 64 * 1024;
/** So many are asked for at once, at most. */
const CHUNKS_AT_ONCE = 50;

/** Puts chunks of small tables that follow one another together, to be asked for at once. */
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
