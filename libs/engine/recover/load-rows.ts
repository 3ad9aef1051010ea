import { invalid, type ManifestTable, type OpenArchive } from '#archive';
import { Failure } from '#common';
import {
  copyIn,
  displayTable,
  isRefusal,
  listCodeUses,
  loadOrder,
  type NamedTable,
  quoteTable,
  type Session,
} from '#postgres';
import { ReadAhead } from '../shared/read-ahead.js';
import type { RowProgress } from '../shared/row-progress.js';
import { definitionsLack } from './after-rows.js';
import { indexTask, type Workplace } from './definitions.js';
import type { EarlyIndexes } from './early-indexes.js';
import type { NotProven } from './not-proven.js';
import { type ParallelTask, runParallel } from './parallel.js';
import { asUnit } from './units.js';

/** Small tables are loaded together, up to this number of bytes, in one transaction. */
const UNIT_BYTES = 4 * 1024 * 1024;

/** A table that refused its rows. */
export interface RefusedTable {
  table: ManifestTable;
  failure: Failure;
}

export interface LoadedRows {
  /** All tables but those that do not exist, which only a drill accepts. */
  loaded: ManifestTable[];
  /** Tables that are still empty, because an object that their code needs does not exist yet, or because they refuse rows. */
  refused: RefusedTable[];
  /** Generated columns whose functions may read tables. */
  columns: { relation: number; name: string }[];
}

/**
 * Loads all tables, in parallel sessions, the largest first, and builds indexes when no table waits. Tables whose checks, generated columns, domains or partition
 * keys call functions of users come last, on one session, because these may read other tables.
 * @throws Failure ARCHIVE_INVALID, or PostgreSQL's if it is no refusal of rows
 */
export async function loadRows(
  workplace: Workplace,
  archive: OpenArchive,
  indexes: EarlyIndexes,
): Promise<LoadedRows> {
  const { sessions, notProven, progress, signal } = workplace;
  const [leader] = sessions;
  const named = await findTables(leader, archive.manifest.tables, notProven);
  const existing = new Set(named.map(quoteTable));
  const loaded = archive.manifest.tables.filter((table) => existing.has(quoteTable(table)));
  const tables = loaded.filter(({ rows }) => rows > 0);
  // A check reads as a domain does: at the load.
  const uses = (await listCodeUses(leader, named)).map((use) =>
    use.kind === 'check' ? { ...use, kind: 'domain' as const } : use,
  );
  const { late, columns } = await loadOrder(leader, named, uses);
  const isLate = new Set(late.map(quoteTable));
  const first = tables.filter((table) => !isLate.has(quoteTable(table)));
  const refused: RefusedTable[] = [];
  progress.say(`Loading rows of ${tables.length} tables`);
  const parents = new Set(named.filter(({ isParent }) => isParent).map(quoteTable));
  const hasRows = (table: ManifestTable) => !refused.some((one) => one.table === table);
  const tasks = unitsOf(archive, first).map((unit): ParallelTask => ({
    locks: quoteTable(unit[0] ?? { schema: '', name: '' }),
    shared: false,
    run: async (session) => {
      const failure = await loadUnit(session, archive, unit, progress, signal);
      if (failure !== undefined && unit.length === 1)
        refused.push(...unit.map((table) => ({ table, failure })));
      else if (failure !== undefined)
        for (const table of unit) refused.push(...(await loadOne(session, archive, table, progress, signal)));
    },
    // A primary key of a parent locks its children, of which another session may load several.
    next: () =>
      unit
        .filter((table) => hasRows(table) && !parents.has(quoteTable(table)))
        .flatMap((table) => indexes.take(table))
        .map((group) => indexTask(workplace, group)),
  }));
  await runParallel(sessions, tasks, signal);
  const byName = new Map(tables.map((table) => [quoteTable(table), table]));
  const lateTables = late.flatMap((table) => byName.get(quoteTable(table)) ?? []);
  const again = [...refused.map(({ table }) => table), ...lateTables];
  return { loaded, columns, refused: await loadAgain(leader, archive, again, progress, signal) };
}

/** Loads tables one after the other, and the refused ones again, until that makes no difference. */
export async function loadAgain(
  session: Session,
  archive: OpenArchive,
  tables: ManifestTable[],
  progress: RowProgress,
  signal: AbortSignal,
): Promise<RefusedTable[]> {
  let waiting = tables;
  let refused: RefusedTable[] = [];
  do {
    tables = waiting;
    refused = [];
    for (const table of tables) refused.push(...(await loadOne(session, archive, table, progress, signal)));
    waiting = refused.map(({ table }) => table);
  } while (waiting.length > 0 && waiting.length < tables.length);
  return refused;
}

async function loadOne(
  session: Session,
  archive: OpenArchive,
  table: ManifestTable,
  progress: RowProgress,
  signal: AbortSignal,
): Promise<RefusedTable[]> {
  const failure = await loadUnit(session, archive, [table], progress, signal);
  return failure === undefined ? [] : [{ table, failure }];
}

/** Groups tables that lie side by side in the archive. The largest groups come first. */
function unitsOf(archive: OpenArchive, tables: ManifestTable[]): ManifestTable[][] {
  const bytesOf = ({ entries }: ManifestTable) => entries.reduce((bytes, { length }) => bytes + length, 0);
  const units: { bytes: number; tables: ManifestTable[] }[] = [];
  for (const table of archive.sorted(tables, ({ entries }) => entries[0])) {
    const bytes = bytesOf(table);
    const last = units.at(-1);
    if (last !== undefined && last.bytes + bytes <= UNIT_BYTES) {
      last.tables.push(table);
      last.bytes += bytes;
    } else units.push({ bytes, tables: [table] });
  }
  return units.toSorted((one, other) => other.bytes - one.bytes).map((unit) => unit.tables);
}

/**
 * Loads tables in one transaction. They are truncated in it, so that their rows are frozen at once.
 * @returns the failure if PostgreSQL refuses the rows: then no table has any
 */
async function loadUnit(
  session: Session,
  archive: OpenArchive,
  tables: ManifestTable[],
  progress: RowProgress,
  signal: AbortSignal,
): Promise<Failure | undefined> {
  const { encoding } = archive.manifest.server;
  let loaded = 0;
  const ahead = new ReadAhead(archive, tables, ({ rows }) => {
    loaded += rows;
    progress.add(rows);
  });
  try {
    await asUnit(session, async () => {
      await session.query(`TRUNCATE ${tables.map((table) => `ONLY ${quoteTable(table)}`).join(', ')}`);
      for (const table of tables) {
        signal.throwIfAborted();
        const columns = table.columns.filter(({ generated }) => !generated).map(({ name }) => name);
        const target = { schema: table.schema, name: table.name, columns, freeze: true };
        const rows = await copyIn(
          session,
          target,
          ahead.rowsOf(table),
          table.invalidText ? 'SQL_ASCII' : encoding,
        );
        if (rows !== table.rows)
          throw invalid(
            `the entries of ${displayTable(table)} hold ${rows} rows, but its manifest says ${table.rows}`,
          );
      }
    });
    return undefined;
  } catch (error) {
    if (!(error instanceof Failure) || !isRefusal(error)) throw error;
    progress.add(-loaded);
    return error;
  } finally {
    // No wait: the store may stall.
    ahead.close().catch(() => undefined);
  }
}

/** Finds the tables in the new database. @throws Failure ARCHIVE_DOES_NOT_FIT for those that the definitions lack */
async function findTables(
  session: Session,
  tables: ManifestTable[],
  notProven: NotProven | undefined,
): Promise<(NamedTable & { isParent: boolean })[]> {
  const found = await session.query<NamedTable & { isParent: boolean }>(
    `SELECT c.oid::int8::float8 AS oid, n.nspname AS schema, c.relname AS name,
            EXISTS (SELECT FROM pg_inherits WHERE inhparent = c.oid) AS "isParent"
       FROM unnest($1::text[], $2::text[]) AS wanted (schema, name)
       JOIN pg_namespace n ON n.nspname = wanted.schema
       JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = wanted.name AND c.relkind = 'r'`,
    [tables.map(({ schema }) => schema), tables.map(({ name }) => name)],
  );
  const names = new Set(found.map(quoteTable));
  const missing = tables.filter((table) => !names.has(quoteTable(table)));
  if (missing.length === 0) return found;
  if (notProven === undefined || notProven.isEmpty) throw definitionsLack('the tables', missing);
  for (const table of missing) notProven.addContents(table);
  return found;
}
