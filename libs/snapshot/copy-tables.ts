import {
  type ArchiveWriter,
  dataEntryName,
  type ManifestEntry,
  type ManifestTable,
  SMALL_BYTES,
} from '#archive';
import {
  type Chunk,
  copyOut,
  type CopyReceiver,
  displayTable,
  groupChunks,
  type Session,
  type Snapshot,
  type Table,
} from '#postgres';
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
  const left = groupChunks(chunks).values();
  const begun = ([chunk]: Chunk[]) => {
    if (chunk === undefined) return;
    const { table } = chunk;
    progress.say(`Copying ${displayTable(table)} (table ${numbers.get(table)} of ${numbers.size})`);
  };
  const received = ({ table, number }: Chunk, entry: Promise<ManifestEntry>, rows: number) => {
    entry.catch(() => undefined); // The writer fails as a whole, and with it whoever begins an entry.
    (copied.get(table) ?? [])[number - 1] = entry;
    progress.add(rows);
  };
  await together(
    signal,
    lanes.map((session) => async (signal: AbortSignal) => {
      // Should another lane fail, nobody waits for what this one reads.
      const drop = () => session.destroy();
      signal.addEventListener('abort', drop, { once: true });
      try {
        for (const group of left) {
          signal.throwIfAborted();
          await copyGroup(session, group, snapshot, writer, { begun, received });
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

interface Listener {
  begun: (chunks: Chunk[]) => void;
  /** The chunk is read. Its entry follows when it is compressed, which the lane does not wait for. */
  received: (chunk: Chunk, entry: Promise<ManifestEntry>, rows: number) => void;
}

/** Copies chunks, one after the other, each into an entry of its own. Resolves when they are read. */
async function copyGroup(
  session: Session,
  chunks: Chunk[],
  { serverEncoding }: Snapshot,
  writer: ArchiveWriter,
  { begun, received }: Listener,
): Promise<void> {
  const placed = chunks.map((chunk) => ({
    chunk,
    entry: writer.place(dataEntryName(chunk.table, chunk.number)),
  }));
  await writer.room();
  const receivers = placed.map(({ chunk, entry }, index): CopyReceiver => {
    const isLast = index === placed.length - 1;
    let length = 0;
    return {
      write(bytes) {
        length += bytes.length;
        return entry.write(bytes);
      },
      end(rows) {
        received(
          chunk,
          entry.end().then((file) => ({ ...file, rows })),
          rows,
        );
        // A table that turned out to be large gives its memory back before the next one takes more.
        return isLast || length < SMALL_BYTES ? undefined : entry.written.then(() => undefined);
      },
    };
  });
  try {
    begun(chunks);
    await copyOut(session, chunks, serverEncoding, receivers);
  } catch (error) {
    for (const { entry } of placed) entry.fail(error);
    throw error;
  }
}
