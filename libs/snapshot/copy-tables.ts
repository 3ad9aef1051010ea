import {
  type ArchiveWriter,
  dataEntryName,
  type ManifestEntry,
  type ManifestFile,
  type ManifestTable,
} from '#archive';
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
  const copied = new Map<Table, Promise<ManifestEntry>[]>(snapshot.tables.map((table) => [table, []]));
  const numbers = new Map(snapshot.tables.map((table, index) => [table, index + 1]));
  const left = chunks.values();
  await together(
    signal,
    lanes.map((session) => async (signal: AbortSignal) => {
      // Should another lane fail, nobody waits for what this one reads.
      const drop = () => session.destroy();
      signal.addEventListener('abort', drop, { once: true });
      try {
        for (const chunk of left) {
          signal.throwIfAborted();
          const { table, number } = chunk;
          progress.say(`Copying ${displayTable(table)} (table ${numbers.get(table)} of ${numbers.size})`);
          const { rows, file } = await copyChunk(session, chunk, snapshot, writer);
          progress.add(rows);
          // The lane does not wait for its compression: the writer sees to it that not too much is under way.
          const entry = file.then((file) => ({ ...file, rows }));
          entry.catch(() => undefined); // The writer fails as a whole, and with it whoever begins an entry.
          (copied.get(table) ?? [])[number - 1] = entry;
        }
      } finally {
        signal.removeEventListener('abort', drop);
      }
    }),
  );
  return Promise.all(
    snapshot.tables.map(async (table) => {
      const { schema, name, columns, partitionOf } = table;
      const entries = await Promise.all(copied.get(table) ?? []);
      const rows = entries.reduce((sum, entry) => sum + entry.rows, 0);
      return { schema, name, rows, columns, partitionOf, entries };
    }),
  );
}

/** @returns when the chunk is read; its file follows when it is compressed */
async function copyChunk(
  session: Session,
  chunk: Chunk,
  { serverEncoding }: Snapshot,
  writer: ArchiveWriter,
): Promise<{ rows: number; file: Promise<ManifestFile> }> {
  const entry = await writer.begin(dataEntryName(chunk.table, chunk.number));
  try {
    const rows = await copyOut(session, chunk, serverEncoding, (bytes) => entry.write(bytes));
    return { rows, file: entry.end() };
  } catch (error) {
    entry.fail(error);
    throw error;
  }
}
