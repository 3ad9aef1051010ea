import { addAbortListener } from 'node:events';
import {
  type ArchiveWriter,
  dataEntryName,
  type EntryWriter,
  type ManifestConfigurationTable,
  type ManifestEntry,
  type ManifestTable,
} from '#archive';
import { runTaskGroup } from '#common';
import {
  type Chunk,
  configurationChunk,
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
  const filled = new FilledEntries();
  const numbers = new Map(
    chunks.filter(({ number }) => number === 1).map(({ table }, index) => [table, index + 1]),
  );
  const announce = ({ table }: Chunk) =>
    progress.say(`Copying ${displayTable(table)} (table ${numbers.get(table)} of ${numbers.size})`);
  const tables = groupChunks(chunks).map((group): CopyTask => async (session) => {
    const [first] = group;
    if (first !== undefined) announce(first);
    await copyGroup(session, group, snapshot, writer, filled, (rows) => progress.add(rows));
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
  return snapshot.tables.map((table) => ({ ...filled.of(table), partitionOf: table.partitionOf }));
}

/**
 * Copies the rows of extensions' configuration into the archive, as far as they can be read, by the session that holds
 * the locks.
 * @returns the tables for the manifest
 */
export async function copyConfiguration(
  session: Session,
  snapshot: Snapshot,
  writer: ArchiveWriter,
): Promise<ManifestConfigurationTable[]> {
  const tables = snapshot.configuration.filter(({ obstacle }) => obstacle === undefined);
  const filled = new FilledEntries();
  for (const group of groupChunks(tables.map(configurationChunk))) {
    await writer.room();
    await copyGroup(session, group, snapshot, writer, filled);
  }
  return tables.map((table) => {
    const { extension, condition } = table;
    return { extension, condition, ...filled.of(table) };
  });
}

/** The entries that are filled with the rows of tables. */
class FilledEntries {
  private readonly entries = new Map<Table, ManifestEntry[]>();
  private readonly invalidText = new Set<Table>();

  add(table: Table, number: number, entry: ManifestEntry): void {
    const entries = this.entries.get(table) ?? [];
    entries[number - 1] = entry;
    this.entries.set(table, entries);
  }

  noteInvalidText(table: Table): void {
    this.invalidText.add(table);
  }

  /** The facts of a table for the manifest. */
  of(table: Table) {
    const { schema, name, columns } = table;
    const entries = this.entries.get(table) ?? [];
    const rows = entries.reduce((sum, entry) => sum + entry.rows, 0);
    const invalidText = this.invalidText.has(table) && { invalidText: true as const };
    return { schema, name, rows, columns, entries, ...invalidText };
  }
}

/** Copies chunks one after the other, each into one or more entries. Resolves when they are read. */
async function copyGroup(
  session: Session,
  chunks: Chunk[],
  { serverEncoding }: Snapshot,
  writer: ArchiveWriter,
  filled: FilledEntries,
  onRows: (rows: number) => void = () => undefined,
): Promise<void> {
  let open: EntryWriter | undefined;
  const receivers = chunks.map(({ table, number: first, condition }): CopyReceiver => {
    let number = first;
    // Old rows may hold invalid bytes. Node can check UTF-8 only.
    const text = serverEncoding === 'UTF8' ? new Utf8Check() : undefined;
    const folder = condition === undefined ? 'data' : 'configuration';
    const fill = () => (open ??= writer.entry(dataEntryName(table, number, folder)));
    const end = (rows: number) => {
      const entry = fill().end();
      open = undefined;
      filled.add(table, number++, { ...entry, rows });
      onRows(rows);
      return writer.room();
    };
    return {
      write: (bytes) => {
        text?.update(bytes);
        return fill().write(bytes);
      },
      endEntry: end,
      end: (rows) => {
        if (text?.isValid === false) filled.noteInvalidText(table);
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
