import type { Table } from './tables.js';

/** A part of a table's rows that one COPY reads: a range of its blocks, or all of it. */
export interface Chunk {
  table: Table;
  /** From 1 within its table. */
  number: number;
  /** Missing where the chunk is the whole table. */
  blocks?: { first: number; /** The first one after it; missing at the table's open end. */ end?: number };
}

/** Bytes on disk that make a chunk: small enough to be held in memory by every lane. */
export const CHUNK_BYTES = 4 * 1024 * 1024;
/** All in all; beyond, chunks grow. A manifest has about 250 bytes for each. */
const MAX_CHUNKS = 100_000;

/**
 * Cuts tables into ranges of blocks, which any number of sessions can read under one snapshot. Where the cuts
 * are depends on the tables alone, not on who reads them. A table's last range has no end: rows that came after
 * its size was looked at belong to no snapshot that is older, and a size that was read too early loses none.
 * https://www.postgresql.org/docs/current/ddl-system-columns.html (ctid)
 */
export function planChunks(tables: Table[], wantedBytes = CHUNK_BYTES): Chunk[] {
  const total = tables.reduce((bytes, table) => bytes + table.bytes, 0);
  const chunkBytes = Math.max(wantedBytes, total / MAX_CHUNKS);
  return tables.flatMap((table) => {
    const wanted = table.blocks === undefined ? 1 : Math.max(1, Math.round(table.bytes / chunkBytes));
    const step = Math.max(1, Math.ceil((table.blocks ?? 0) / wanted));
    const count = Math.max(1, Math.ceil((table.blocks ?? 0) / step));
    return Array.from({ length: count }, (_, index): Chunk => {
      const number = index + 1;
      if (count === 1) return { table, number };
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
