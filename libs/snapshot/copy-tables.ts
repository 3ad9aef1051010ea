import { type ArchiveWriter, dataEntryName, type ManifestEntry, type ManifestTable } from '#archive';
import { type Chunk, copyOut, displayTable, type Session, type Snapshot, type Table } from '#postgres';
import type { CopyProgress } from './copy-progress.js';
import { together } from './together.js';

/**
 * Copies all chunks into the archive. Every lane takes the next chunk as soon as it has read one, so that the
 * archive has them in their order, whichever lane was how fast.
 * @returns the tables as the manifest describes them
 */
export async function copyTables(
  lanes: Session[],
  snapshot: Snapshot,
  chunks: Chunk[],
  writer: ArchiveWriter,
  progress: CopyProgress,
  signal: AbortSignal,
): Promise<ManifestTable[]> {
  const copied = new Map<Table, ManifestEntry[]>(snapshot.tables.map((table) => [table, []]));
  const numbers = new Map(snapshot.tables.map((table, index) => [table, index + 1]));
  const left = chunks.values();
  await together(
    signal,
    lanes.map((session) => async (signal: AbortSignal) => {
      for (const chunk of left) {
        signal.throwIfAborted();
        const { table, number } = chunk;
        progress.say(`Copying ${displayTable(table)} (table ${numbers.get(table)} of ${numbers.size})`);
        const entry = await copyChunk(session, chunk, snapshot, writer);
        (copied.get(table) ?? [])[number - 1] = entry;
        progress.add(entry.rows);
      }
    }),
  );
  return snapshot.tables.map((table) => {
    const { schema, name, columns } = table;
    const entries = copied.get(table) ?? [];
    return { schema, name, columns, rows: entries.reduce((sum, { rows }) => sum + rows, 0), entries };
  });
}

async function copyChunk(
  session: Session,
  chunk: Chunk,
  { serverEncoding }: Snapshot,
  writer: ArchiveWriter,
): Promise<ManifestEntry> {
  const entry = await writer.begin(dataEntryName(chunk.table, chunk.number));
  try {
    const rows = await copyOut(session, chunk, serverEncoding, (bytes) => entry.write(bytes));
    return { ...(await entry.end()), rows };
  } catch (error) {
    entry.fail(error);
    throw error;
  }
}
