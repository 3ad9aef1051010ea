import {
  type ArchiveWriter,
  dataEntryName,
  type EntryWriter,
  type ManifestEntry,
  type ManifestTable,
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
import type { RowProgress } from '../shared/row-progress.js';
import { runTaskGroup } from '#common';
import { Utf8Check } from './utf8-check.js';

/**
 * Copies all chunks into the archive. Every session takes the next chunk as soon as it has read one. Entries lie in the
 * archive in the order in which they were filled; the manifest lists those of a table in the order of its rows.
 * @returns the tables as the manifest describes them
 */
export async function copyTables(
  sessions: Session[],
  snapshot: Snapshot,
  chunks: Chunk[],
  writer: ArchiveWriter,
  progress: RowProgress,
  signal: AbortSignal,
): Promise<ManifestTable[]> {
  const filled = new Map<Table, ManifestEntry[]>(snapshot.tables.map((table) => [table, []]));
  const numbers = new Map(
    chunks.filter(({ number }) => number === 1).map(({ table }, index) => [table, index + 1]),
  );
  const left = groupChunks(chunks).values();
  const begun = ({ table }: Chunk) =>
    progress.say(`Copying ${displayTable(table)} (table ${numbers.get(table)} of ${numbers.size})`);
  const invalid = new Set<Table>();
  const part = (table: Table, number: number, entry: ManifestEntry) => {
    (filled.get(table) ?? [])[number - 1] = entry;
    progress.add(entry.rows);
  };
  await runTaskGroup(
    signal,
    sessions.map((session) => async (signal: AbortSignal) => {
      // Should another session fail, nobody waits for what this one reads.
      const drop = () => session.destroy();
      signal.addEventListener('abort', drop, { once: true });
      try {
        for (const group of left) {
          signal.throwIfAborted();
          await writer.room();
          const [first] = group;
          if (first !== undefined) begun(first);
          await copyGroup(session, group, snapshot, writer, part, (table) => invalid.add(table));
        }
      } finally {
        signal.removeEventListener('abort', drop);
      }
    }),
  );
  return snapshot.tables.map((table) => {
    const { schema, name, columns, partitionOf } = table;
    const entries = filled.get(table) ?? [];
    const rows = entries.reduce((sum, entry) => sum + entry.rows, 0);
    const invalidText = invalid.has(table) && { invalidText: true as const };
    return { schema, name, rows, columns, partitionOf, entries, ...invalidText };
  });
}

/** Is told of each entry that is filled. */
type OnPart = (table: Table, number: number, entry: ManifestEntry) => void;

/** Copies chunks, one after the other, each into one entry or more. Resolves when they are read. */
async function copyGroup(
  session: Session,
  chunks: Chunk[],
  { serverEncoding }: Snapshot,
  writer: ArchiveWriter,
  onPart: OnPart,
  onInvalidText: (table: Table) => void,
): Promise<void> {
  let open: EntryWriter | undefined;
  const receivers = chunks.map(({ table, number: first }): CopyReceiver => {
    let number = first;
    // Old bytes may be in no encoding. Of the others that PostgreSQL has, Node cannot tell.
    const text = serverEncoding === 'UTF8' ? new Utf8Check() : undefined;
    const fill = () => (open ??= writer.entry(dataEntryName(table, number)));
    const end = (rows: number) => {
      const entry = fill().end();
      open = undefined;
      onPart(table, number++, { ...entry, rows });
      return writer.room();
    };
    return {
      write: (bytes) => {
        text?.update(bytes);
        return fill().write(bytes);
      },
      endEntry: end,
      end: (rows) => {
        if (text?.isValid === false) onInvalidText(table);
        return end(rows);
      },
    };
  });
  try {
    await copyOut(session, chunks, serverEncoding, receivers);
  } catch (error) {
    open?.fail(error);
    throw error;
  }
}
