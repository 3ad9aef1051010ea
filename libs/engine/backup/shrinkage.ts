import type { Manifest } from '#archive';
import { formatCount } from '#common';
import { displayTable, quoteTable, type Relation } from '#postgres';

/** The tables of an archive with their rows. Partitions count as one table: old ones may be dropped every night. */
export type TableRows = Map<string, Relation & { rows: number }>;

/** An earlier archive to compare with. */
export interface Baseline {
  /** Its name. */
  archive: string;
  takenAt: string;
  rows: TableRows;
}

/** The rows that an archive lacks compared with an earlier one. */
export type Shrinkage = NonNullable<Manifest['shrunk']>;

/** Smaller tables count only if they become empty. */
const SMALL_TABLE = 1_000;

/** Tables that the warning names. */
const NAMED = 5;

/** Adds up the rows of each table, with those of its partitions. */
export function rowsOfTables(
  tables: Iterable<Relation & { rows: number; partitionOf: Relation[] }>,
): TableRows {
  const all: TableRows = new Map();
  for (const { schema, name, rows, partitionOf } of tables) {
    const table = partitionOf.at(-1) ?? { schema, name };
    const known = all.get(quoteTable(table));
    if (known === undefined) all.set(quoteTable(table), { schema: table.schema, name: table.name, rows });
    else known.rows = safeSum(known.rows, rows);
  }
  return all;
}

/**
 * Finds the tables that have lost more than this part of their rows since an earlier archive. A table that was dropped
 * has lost all.
 * @returns undefined if neither a table nor the whole has
 */
export function shrinkageSince(
  { archive, takenAt, rows: before }: Baseline,
  after: TableRows,
  percent: number,
): Shrinkage | undefined {
  const tables = [...before].flatMap(([key, { schema, name, rows }]) => {
    const left = after.get(key)?.rows ?? 0;
    return hasShrunk(rows, left, percent) ? [{ schema, name, before: rows, after: left }] : [];
  });
  const total = { before: sumOf(before), after: sumOf(after) };
  const all = hasShrunk(total.before, total.after, percent);
  if (tables.length === 0 && !all) return undefined;
  tables.sort((one, other) => other.before - other.after - (one.before - one.after));
  return { archive, takenAt, ...(all && { total }), tables };
}

/** A sentence for the administrator, who decides whether the loss is meant. */
export function shrinkageWarning({ archive, takenAt, total, tables }: Shrinkage): string {
  const more = tables.length - NAMED;
  const losses = [
    ...tables.slice(0, NAMED).map((table) => `${displayTable(table)} (${fall(table)})`),
    ...(more > 0 ? [`${formatCount(more)} more ${more === 1 ? 'table' : 'tables'}`] : []),
    ...(total === undefined ? [] : [`the whole repository (${fall(total)})`]),
  ];
  return `Rows are missing since the archive ${archive} of ${takenAt}: ${losses.join(', ')}. Schedules delete no archives until you confirm the loss.`;
}

function fall({ before, after }: { before: number; after: number }): string {
  return `from ${formatCount(before)} to ${formatCount(after)} rows`;
}

function hasShrunk(before: number, after: number, percent: number): boolean {
  if (before < SMALL_TABLE && after > 0) return false;
  return before - after > (before * percent) / 100;
}

function sumOf(tables: TableRows): number {
  return [...tables.values()].reduce((sum, { rows }) => safeSum(sum, rows), 0);
}

/** Counts of a hostile archive could add up to a number that no manifest may hold. */
function safeSum(one: number, other: number): number {
  return Math.min(one + other, Number.MAX_SAFE_INTEGER);
}
