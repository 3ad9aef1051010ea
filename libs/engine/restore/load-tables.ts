import {
  type EntrySequence,
  invalid,
  type ManifestEntry,
  type ManifestFile,
  type ManifestTable,
  type OpenArchive,
  WHOLE_ENTRY_BYTES,
} from '#archive';
import { Failure } from '#common';
import { copyIn, displayTable, type Session, underPath } from '#postgres';
import type { RowProgress } from '../shared/row-progress.js';
import { refusedRows } from './refused-rows.js';
import type { RestorePlan } from './restore-plan.js';

/**
 * Loads tables of the archive, one after the other, checking them on the way: every entry's length and checksums
 * against the manifest, and every table's number of rows. A table is one COPY, however many entries it has: so the
 * server need not wait between them, nor set up the same again.
 * @throws Failure ARCHIVE_INVALID, CHECK_VIOLATED, or PostgreSQL's
 */
export async function loadTables(
  session: Session,
  archive: OpenArchive,
  { archived, late, pathOf, mapping: place, replace, scratchTables: copies, keepViolations }: RestorePlan,
  progress: RowProgress,
  signal: AbortSignal,
): Promise<void> {
  const { server } = archive.manifest;
  const freeze = replace || copies.length > 0;
  // As they lie, so that small ones are read together.
  const first = archived.filter((table) => !late.includes(table));
  const tables = [...archive.inPlace(first, ({ entries }) => entries[0]), ...late];
  const ahead = new ReadAhead(archive, tables);
  try {
    for (const [index, table] of tables.entries()) {
      progress.say(`Loading ${displayTable(table)} (table ${index + 1} of ${tables.length})`);
      const columns = table.columns.filter(({ generated }) => !generated).map(({ name }) => name);
      const target = { ...place(table), columns, freeze };
      // Checks, generated columns and indexes may call functions.
      // As SQL_ASCII, PostgreSQL takes all bytes as they are.
      const encoding = table.invalidText ? 'SQL_ASCII' : server.encoding;
      const load = () => copyIn(session, target, ahead.rowsOf(table), encoding);
      const rows = await underPath(session, pathOf(table), load).catch(async (error: unknown) => {
        // A damaged row of a long entry may reach PostgreSQL before its checksums are through: say what it is.
        const entry = ahead.present;
        if (
          entry !== undefined &&
          entry.length > WHOLE_ENTRY_BYTES &&
          error instanceof Failure &&
          error.code === 'DATABASE_QUERY_FAILED'
        ) {
          await ahead.close();
          await readToEnd(archive, [entry], signal);
        }
        throw refusedRows(error, copies.length > 0 ? table : place(table), keepViolations) ?? error;
      });
      if (rows !== table.rows)
        throw invalid(
          `the entries of ${displayTable(table)} give ${rows} rows where its manifest says ${table.rows}`,
        );
      progress.add(rows);
    }
  } finally {
    // Not waited for: the store may stall, and the tables are locked.
    ahead.close().catch(() => undefined);
  }
}

/** An entry that is being read already. */
interface Begun {
  first: Promise<IteratorResult<Buffer, unknown>>;
  rest: AsyncGenerator<Buffer>;
}

/** The entries of tables, one after the other: while one is loaded, the next is read, unpacked and checked already. */
class ReadAhead {
  /** Whose bytes are being given; all before it were checked. */
  present: ManifestEntry | undefined;
  private readonly sequence: EntrySequence;
  private upcoming: Begun | undefined;

  constructor(archive: OpenArchive, tables: ManifestTable[]) {
    this.sequence = archive.read(tables.flatMap((table) => table.entries));
    this.upcoming = this.begin();
  }

  /** The rows of the next table, below the header line of its first entry. */
  async *rowsOf(table: ManifestTable): AsyncGenerator<Buffer> {
    for (const [index, entry] of table.entries.entries()) {
      this.present = entry;
      yield* index === 0 ? this.next() : withoutHeader(this.next());
    }
  }

  async close(): Promise<void> {
    await this.upcoming?.rest.return(undefined);
    this.upcoming = undefined;
    await this.sequence.close();
  }

  private async *next(): AsyncGenerator<Buffer> {
    const { upcoming } = this;
    if (upcoming === undefined) throw new Error('There are no more entries');
    this.upcoming = this.begin();
    const { first, rest } = upcoming;
    try {
      const { value, done } = await first;
      if (done !== true) yield value;
      yield* rest;
    } finally {
      await rest.return(undefined);
    }
  }

  private begin(): Begun | undefined {
    const rest = this.sequence.next();
    if (rest === undefined) return undefined;
    const first = rest.next();
    first.catch(() => undefined); // The reader hears of it.
    return { first, rest };
  }
}

const QUOTE = 0x22;
const NEWLINE = 0x0a;

/** CSV without its first line, which ends at the first newline outside of quotes: a column's name may have others. */
async function* withoutHeader(csv: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  let inHeader = true;
  let inQuotes = false;
  for await (const bytes of csv) {
    let at = 0;
    for (; inHeader && at < bytes.length; at++) {
      if (bytes[at] === QUOTE) inQuotes = !inQuotes;
      else if (bytes[at] === NEWLINE && !inQuotes) inHeader = false;
    }
    if (at < bytes.length) yield bytes.subarray(at);
  }
}

/** Reads entries without using them, for their checksums, in the order in which they lie. @throws Failure ARCHIVE_INVALID */
export async function readToEnd<Entry extends ManifestFile>(
  archive: OpenArchive,
  entries: Entry[],
  signal: AbortSignal,
  onBytes: (entry: Entry, bytes: number) => void = () => {},
): Promise<void> {
  const inPlace = archive.inPlace(entries, (entry) => entry);
  const sequence = archive.read(inPlace);
  try {
    for (const entry of inPlace) {
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
