import { quoteTable } from './identifiers.js';
import type { Session } from './session.js';
import type { Table } from './tables.js';

/** Counting more rows than this costs more than an exact total is worth. */
const COUNT_LIMIT = 1_000_000;
/** Tables of no more blocks are counted whole, so many in one statement. */
const SMALL_BLOCKS = 1_000;
const BATCH = 200;
/** Of more small tables, only those are counted that cannot be estimated: it opens all of their indexes. */
const COUNTED_TABLES = 500;

/**
 * How many rows the tables hold in this transaction's snapshot: exact for up to 500 small tables and up to a million
 * rows, the smallest tables first; beyond, by the planner's estimate.
 */
export async function countRows(session: Session, tables: Table[]): Promise<number> {
  const small = tables.filter(isSmall);
  const counted = small.length > COUNTED_TABLES ? small.filter((table) => !table.estimatedRows) : small;
  const large = tables.filter((table) => !isSmall(table)).toSorted((a, b) => a.bytes - b.bytes);
  let total = counted === small ? 0 : small.reduce((sum, { estimatedRows = 0 }) => sum + estimatedRows, 0);
  // Counting locks the tables' indexes; rolling back to here lets go of them.
  await session.query('SAVEPOINT counting');
  for (let from = 0; from < counted.length; from += BATCH)
    total += await countWhole(session, counted.slice(from, from + BATCH));
  for (const table of large) {
    const left = COUNT_LIMIT - total;
    const rows = left > 0 ? await countUpTo(session, table, left + 1) : Infinity;
    total += rows <= left ? rows : await estimateRows(session, table);
  }
  await session.query('ROLLBACK TO SAVEPOINT counting; RELEASE SAVEPOINT counting');
  return total;
}

function isSmall({ blocks }: Table): boolean {
  return blocks !== undefined && blocks <= SMALL_BLOCKS;
}

async function countWhole(session: Session, tables: Table[]): Promise<number> {
  const counts = tables.map((table) => `(SELECT count(*) FROM ONLY ${quoteTable(table)})`);
  const [counted] = await session.query<{ rows: string }>(`SELECT ${counts.join(' + ')} AS rows`);
  return Number(counted?.rows ?? 0);
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
