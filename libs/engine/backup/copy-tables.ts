import { addAbortListener } from 'node:events';
import {
  type ArchiveWriter,
  dataEntryName,
  type EntryWriter,
  type ManifestEntry,
  type ManifestTable,
} from '#archive';
import { runTaskGroup } from '#common';
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
import { Utf8Check } from './utf8-check.js';

/** Further contents that a session copies after the tables. */
export type CopyTask = (session: Session) => Promise<void>;

/**
 * Copies all chunks, and then other contents, into the archive. Each session takes the next task as soon as it has finished one. Entries lie in the
 * archive in the order in which they were filled; the manifest lists those of a table in the order of its rows.
 * @returns the tables for the manifest
 */
export async function copyTables(
  sessions: Session[],
  snapshot: Snapshot,
  chunks: Chunk[],
  others: CopyTask[],
  writer: ArchiveWriter,
  progress: RowProgress,
  signal: AbortSignal,
): Promise<ManifestTable[]> {
  const filled = new Map<Table, ManifestEntry[]>(snapshot.tables.map((table) => [table, []]));
  const numbers = new Map(
    chunks.filter(({ number }) => number === 1).map(({ table }, index) => [table, index + 1]),
  );
  const announce = ({ table }: Chunk) =>
    progress.say(`Copying ${displayTable(table)} (table ${numbers.get(table)} of ${numbers.size})`);
  const invalid = new Set<Table>();
  const onEntry = (table: Table, number: number, entry: ManifestEntry) => {
    (filled.get(table) ?? [])[number - 1] = entry;
    progress.add(entry.rows);
  };
  const tables = groupChunks(chunks).map((group): CopyTask => async (session) => {
    const [first] = group;
    if (first !== undefined) announce(first);
    await copyGroup(session, group, snapshot, writer, onEntry, (table) => invalid.add(table));
  });
  const remaining = [...tables, ...others].values();
  await runTaskGroup(
    signal,
    sessions.map((session) => async (stopped: AbortSignal) => {
      // If another session fails, the rows of this one are of no use.
      using _listener = addAbortListener(stopped, () => session.destroy());
      for (const task of remaining) {
        stopped.throwIfAborted();
        await writer.room();
        await task(session);
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

/** Called for each entry that is filled. */
type OnEntry = (table: Table, number: number, entry: ManifestEntry) => void;

/** Copies chunks one after the other, each into one or more entries. Resolves when they are read. */
async function copyGroup(
  session: Session,
  chunks: Chunk[],
  { serverEncoding }: Snapshot,
  writer: ArchiveWriter,
  onEntry: OnEntry,
  onInvalidText: (table: Table) => void,
): Promise<void> {
  let open: EntryWriter | undefined;
  const receivers = chunks.map(({ table, number: first }): CopyReceiver => {
    let number = first;
    // Old rows may hold invalid bytes. Node can check UTF-8 only.
    const text = serverEncoding === 'UTF8' ? new Utf8Check() : undefined;
    const fill = () => (open ??= writer.entry(dataEntryName(table, number)));
    const end = (rows: number) => {
      const entry = fill().end();
      open = undefined;
      onEntry(table, number++, { ...entry, rows });
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
