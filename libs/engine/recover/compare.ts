import type { ManifestTable, OpenArchive } from '#archive';
import { Failure } from '#common';
import {
  displayTable,
  quoteIdentifier,
  quoteTable,
  type SequenceState,
  type Session,
  sqlState,
} from '#postgres';
import { compareLargeObjects } from './compare-large-objects.js';
import type { Workplace } from './definitions.js';
import { runParallel } from './parallel.js';
import { alone, undone } from './units.js';

/** Sequences that one statement reads. */
const BATCH = 200;
const INSUFFICIENT_PRIVILEGE = '42501';
/** The most differences that a message names. */
const NAMED = 10;

/**
 * Compares the contents of the new database with the manifest: rows, sequences and large objects.
 * @throws Failure RECOVER_DIFFERS
 */
export async function compareContents(
  workplace: Workplace,
  archive: OpenArchive,
  { tables, sequences }: { tables: ManifestTable[]; sequences: SequenceState[] },
): Promise<void> {
  const { largeObjects } = archive.manifest;
  const differences = [
    ...(await countRows(workplace, tables)),
    ...(await compareSequences(workplace.sessions[0], sequences)),
    ...(await compareLargeObjects(workplace.sessions[0], archive, largeObjects)),
  ];
  if (differences.length === 0) return;
  const more = differences.length > NAMED ? ` and ${differences.length - NAMED} more` : '';
  throw new Failure(
    'RECOVER_DIFFERS',
    'permanent',
    `The new database differs from the archive: ${differences.slice(0, NAMED).join('; ')}${more}.`,
    { hint: 'Code of the archive may have changed rows. Report this if it is not so.' },
  );
}

async function countRows({ sessions, signal }: Workplace, tables: ManifestTable[]): Promise<string[]> {
  const differences: string[] = [];
  const tasks = tables
    .toSorted((one, other) => other.rows - one.rows)
    .map((table) => ({
      locks: quoteTable(table),
      shared: true,
      run: async (session: Session) => {
        const rows = await count(session, table);
        if (rows !== table.rows)
          differences.push(`${displayTable(table)} has ${rows} rows in place of ${table.rows}`);
      },
    }));
  await runParallel(sessions, tasks, signal);
  return differences;
}

async function count(session: Session, table: ManifestTable): Promise<number> {
  const counting = `SELECT count(*) AS rows FROM ONLY ${quoteTable(table)}`;
  try {
    const [row] = await alone(session, () => session.query<{ rows: string }>(counting));
    return Number(row?.rows);
  } catch (error) {
    if (sqlState(error) !== INSUFFICIENT_PRIVILEGE) throw error;
  }
  // Its owner is under forced policies, or has no right to read.
  return undone(session, async () => {
    await session.query(
      `ALTER TABLE ONLY ${quoteTable(table)} NO FORCE ROW LEVEL SECURITY; GRANT SELECT ON ${quoteTable(table)} TO CURRENT_USER`,
    );
    const [row] = await session.query<{ rows: string }>(counting);
    return Number(row?.rows);
  });
}

async function compareSequences(session: Session, sequences: SequenceState[]): Promise<string[]> {
  const differences: string[] = [];
  for (let from = 0; from < sequences.length; from += BATCH) {
    const batch = sequences.slice(from, from + BATCH);
    const rows = await session.query<{ value: string; called: boolean }>(
      batch
        .map((one) => `SELECT last_value::text AS value, is_called AS called FROM ${quoteTable(one)}`)
        .join(' UNION ALL '),
    );
    for (const [index, one] of batch.entries())
      if (rows[index]?.value !== one.lastValue || rows[index]?.called !== one.isCalled)
        differences.push(
          `the sequence ${displayTable(one)} is at ${rows[index]?.value} in place of ${one.lastValue}`,
        );
  }
  return differences;
}

/**
 * Computes generated columns again whose functions may read tables: their first values depend on the order of the rows.
 * @returns those that still differ, for people
 */
export async function compareGenerated(
  session: Session,
  columns: { relation: number; name: string }[],
): Promise<string[]> {
  const losses: string[] = [];
  for (const { relation, name } of columns) {
    const [column] = await session.query<{ schema: string; table: string; expression: string }>(
      `SELECT n.nspname AS schema, c.relname AS table, pg_get_expr(d.adbin, d.adrelid) AS expression
         FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
         JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
        WHERE a.attrelid = $1 AND a.attname = $2`,
      [relation, name],
    );
    if (column === undefined) continue;
    const table = { schema: column.schema, name: column.table };
    const [row] = await session.query<{ rows: string }>(
      `SELECT count(*) AS rows FROM ONLY ${quoteTable(table)} WHERE ${quoteIdentifier(name)} IS DISTINCT FROM (${column.expression})`,
    );
    if (Number(row?.rows) > 0)
      losses.push(
        `${row?.rows} values of the generated column ${displayTable(table)}.${name} (its expression gives others now)`,
      );
  }
  return losses;
}
