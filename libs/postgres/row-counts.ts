import { quoteTable } from './identifiers.js';
import type { Session } from './session.js';
import type { Table } from './tables.js';

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
