import { invalid, type ManifestFile, type ManifestTable, type OpenArchive } from '#archive';
import { Failure } from '#contracts';
import { copyIn, displayTable, type Session } from '#postgres';
import type { CopyProgress } from './copy-progress.js';
import type { Place } from './destination.js';

/**
 * Loads tables of the archive, one after the other, checking them on the way: every entry's length and checksums
 * against the manifest, and every table's number of rows.
 * @param place where a table's rows go
 * @throws Failure ARCHIVE_INVALID, or PostgreSQL's
 */
export async function loadTables(
  session: Session,
  archive: OpenArchive,
  tables: ManifestTable[],
  place: Place,
  progress: CopyProgress,
  signal: AbortSignal,
): Promise<void> {
  const { server } = archive.manifest;
  for (const [index, table] of tables.entries()) {
    progress.say(`Loading ${displayTable(table)} (table ${index + 1} of ${tables.length})`);
    const columns = table.columns.filter(({ generated }) => !generated).map(({ name }) => name);
    for (const entry of table.entries) {
      const target = { ...place(table), columns };
      const rows = await copyIn(session, target, archive.readEntry(entry), server.encoding, signal).catch(
        async (error: unknown) => {
          // A damaged row may reach PostgreSQL before the entry's checksums are through: say what it is.
          if (error instanceof Failure && error.code === 'DATABASE_QUERY_FAILED')
            await readToEnd(archive, entry, signal);
          throw error;
        },
      );
      if (rows !== entry.rows)
        throw invalid(`the entry ${entry.name} gives ${rows} rows where its manifest says ${entry.rows}`);
      progress.add(rows);
    }
  }
}

/** Reads an entry without using it: for its checksums. @throws Failure ARCHIVE_INVALID */
export async function readToEnd(
  archive: OpenArchive,
  entry: ManifestFile,
  signal: AbortSignal,
  onBytes: (bytes: number) => void = () => {},
): Promise<void> {
  let bytes = 0;
  for await (const chunk of archive.readEntry(entry) as AsyncIterable<Buffer>) {
    signal.throwIfAborted();
    onBytes((bytes += chunk.length));
  }
}
