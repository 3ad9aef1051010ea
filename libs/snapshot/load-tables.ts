import { invalid, type ManifestTable, type OpenArchive } from '#archive';
import { copyIn, displayTable, type Session } from '#postgres';
import type { CopyProgress } from './copy-progress.js';

/**
 * Loads all rows of the archive, table by table, checking them on the way: every entry's length and checksums
 * against the manifest, and every table's number of rows.
 * @param nameOf where a table's rows go
 * @throws Failure ARCHIVE_INVALID, or PostgreSQL's
 */
export async function loadTables(
  session: Session,
  archive: OpenArchive,
  nameOf: (table: ManifestTable, index: number) => { schema: string; name: string },
  progress: CopyProgress,
  signal: AbortSignal,
): Promise<void> {
  const { tables, server } = archive.manifest;
  for (const [index, table] of tables.entries()) {
    progress.say(`Loading ${displayTable(table)} (table ${index + 1} of ${tables.length})`);
    const columns = table.columns.filter(({ generated }) => !generated).map(({ name }) => name);
    for (const entry of table.entries) {
      const csv = archive.readEntry(entry);
      const rows = await copyIn(session, { ...nameOf(table, index), columns }, csv, server.encoding, signal);
      if (rows !== entry.rows)
        throw invalid(`the entry ${entry.name} gives ${rows} rows where its manifest says ${entry.rows}`);
      progress.add(rows);
    }
  }
}
