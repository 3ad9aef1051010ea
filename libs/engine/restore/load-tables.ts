import { invalid, type ManifestFile, type OpenArchive, WHOLE_ENTRY_BYTES } from '#archive';
import { Failure } from '#common';
import {
  type ConfigurationTable,
  copyIn,
  copySomeColumns,
  deleteConfiguration,
  displayTable,
  quoteTable,
  type Session,
  underPath,
} from '#postgres';
import { type LoadedTable, ReadAhead } from '../shared/read-ahead.js';
import type { RowProgress } from '../shared/row-progress.js';
import { refusedRows } from './refused-rows.js';
import type { RestorePlan } from './restore-plan.js';

/**
 * Loads tables of the archive, one after the other, and checks each entry's length and checksums and each table's number
 * of rows against the manifest. Each table is one COPY over all its entries, so the server does not wait between them.
 * @throws Failure ARCHIVE_INVALID, CHECK_VIOLATED, or PostgreSQL's
 */
export async function loadTables(
  session: Session,
  archive: OpenArchive,
  plan: RestorePlan,
  progress: RowProgress,
  signal: AbortSignal,
): Promise<void> {
  const { server } = archive.manifest;
  const { archived, late, pathOf, mapping, replace, scratchTables, keepViolations } = plan;
  const freeze = replace || scratchTables.length > 0;
  // Savepoints lie between their creation and their load.
  const created = new Set(plan.created.tables.map(({ target }) => quoteTable(target)));
  // In the order of the archive, so that small tables share a read.
  const first = archived.filter((table) => !late.includes(table));
  const configuration = new Map(
    plan.configuration.map((one): [LoadedTable, ConfigurationTable] => [one.archived, one.live]),
  );
  // Functions of extensions may read their configuration when rows are loaded.
  const tables: LoadedTable[] = [
    ...configuration.keys(),
    ...archive.sorted(first, ({ entries }) => entries[0]),
    ...late,
  ];
  const ahead = new ReadAhead(archive, tables);
  try {
    for (const [index, table] of tables.entries()) {
      progress.say(`Loading ${displayTable(table)} (table ${index + 1} of ${tables.length})`);
      const columns = table.columns.filter(({ generated }) => !generated).map(({ name }) => name);
      const live = configuration.get(table);
      const path = pathOf(table);
      const isNew = created.has(quoteTable(mapping(table)));
      const target = { ...mapping(table), columns, freeze: freeze && live === undefined && !isNew };
      if (live !== undefined) await underPath(session, path, () => deleteConfiguration(session, live));
      // As SQL_ASCII, PostgreSQL takes all bytes as they are.
      const encoding = table.invalidText ? 'SQL_ASCII' : server.encoding;
      // Checks, generated columns and indexes may call functions.
      const dropped = (plan.dropped as ReadonlyMap<object, Set<string>>).get(table);
      const load = () =>
        dropped !== undefined && columns.some((column) => dropped.has(column))
          ? copySomeColumns(
              session,
              { ...target, dropped, temporary: `snapshotd_rows_${index}` },
              ahead.rowsOf(table),
              encoding,
            )
          : copyIn(session, target, ahead.rowsOf(table), encoding);
      const rows = await underPath(session, path, load).catch(async (error: unknown) => {
        // A damaged row of a long entry may reach PostgreSQL before the entry's checksums fail: report the damage.
        const entry = ahead.current;
        if (
          entry !== undefined &&
          entry.length > WHOLE_ENTRY_BYTES &&
          error instanceof Failure &&
          error.code === 'DATABASE_QUERY_FAILED'
        ) {
          await ahead.close();
          await readToEnd(archive, [entry], signal);
        }
        throw refusedRows(error, scratchTables.length > 0 ? table : mapping(table), keepViolations) ?? error;
      });
      if (rows !== table.rows)
        throw invalid(
          `the entries of ${displayTable(table)} hold ${rows} rows, but its manifest says ${table.rows}`,
        );
      if (live === undefined) progress.add(rows);
    }
  } finally {
    // No wait: the store may stall while the tables are locked.
    ahead.close().catch(() => undefined);
  }
}

/** Reads entries only to check them, in the order of the archive. @throws Failure ARCHIVE_INVALID */
export async function readToEnd<Entry extends ManifestFile>(
  archive: OpenArchive,
  entries: Entry[],
  signal: AbortSignal,
  onBytes: (entry: Entry, bytes: number) => void = () => {},
): Promise<void> {
  const sorted = archive.sorted(entries, (entry) => entry);
  const sequence = archive.read(sorted);
  try {
    for (const entry of sorted) {
      let bytes = 0;
      for await (const chunk of sequence.next() ?? []) {
        signal.throwIfAborted();
        onBytes(entry, (bytes += chunk.length));
      }
    }
  } finally {
    await sequence.close();
  }
}
