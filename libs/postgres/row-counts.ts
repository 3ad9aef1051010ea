import { quoteTable } from './identifiers.js';
import type { Session } from './session.js';
import type { Table } from './tables.js';

/** Counting more rows of a table than this costs more than an exact total is worth. */
const COUNTED_ROWS = 10_000;
const COUNTED_BLOCKS = 1_000;
/** Tables that one statement counts. */
const BATCH = 200;

/**
 * How many rows the tables hold in this transaction's snapshot: exact for small tables, and the planner's estimate
 * for the others.
 */
export async function countRows(session: Session, tables: Table[]): Promise<number> {
  const small = tables.filter(({ blocks }) => blocks !== undefined && blocks <= COUNTED_BLOCKS);
  let rows = 0;
  const uncertain = tables.filter((table) => !small.includes(table));
  for (let from = 0; from < small.length; from += BATCH) {
    const batch = small.slice(from, from + BATCH);
    const counts = batch.map(
      (table) =>
        `(SELECT count(*) FROM (SELECT FROM ONLY ${quoteTable(table)} LIMIT ${COUNTED_ROWS + 1}) AS counted)`,
    );
    const [counted] = await session.query<{ counts: number[] }>(
      `SELECT ARRAY[${counts.join(', ')}]::float8[] AS counts`,
    );
    for (const [index, table] of batch.entries()) {
      const count = counted?.counts[index] ?? 0;
      if (count > COUNTED_ROWS) uncertain.push(table);
      else rows += count;
    }
  }
  for (const table of uncertain) rows += await estimateRows(session, table);
  return rows;
}

/** The planner looks at the table's present size, so this is good even where ANALYZE never ran. */
async function estimateRows(session: Session, table: Table): Promise<number> {
  const rows = await session.query<{ 'QUERY PLAN': [{ Plan: { 'Plan Rows': number } }] }>(
    `EXPLAIN (FORMAT JSON) SELECT FROM ONLY ${quoteTable(table)}`,
  );
  return rows[0]?.['QUERY PLAN'][0].Plan['Plan Rows'] ?? 0;
}
