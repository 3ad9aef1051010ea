import type { EntrySequence, ManifestEntry, ManifestTable, OpenArchive } from '#archive';

/** The members of an archived table that loading needs. */
export type LoadedTable = Pick<
  ManifestTable,
  'schema' | 'name' | 'rows' | 'columns' | 'entries' | 'invalidText'
>;

/** An entry whose reading has started. */
interface StartedEntry {
  first: Promise<IteratorResult<Buffer, unknown>>;
  rest: AsyncGenerator<Buffer>;
}

/** Reads the entries of tables one after the other: while one is loaded, the next is read, decompressed and checked. */
export class ReadAhead {
  /** The entry whose bytes are being passed on; all entries before it were checked. */
  current: ManifestEntry | undefined;
  private readonly sequence: EntrySequence;
  private upcoming: StartedEntry | undefined;

  /** @param onEntry called when all bytes of an entry were passed on */
  constructor(
    archive: OpenArchive,
    tables: LoadedTable[],
    private readonly onEntry: (entry: ManifestEntry) => void = () => {},
  ) {
    this.sequence = archive.read(tables.flatMap((table) => table.entries));
    this.upcoming = this.start();
  }

  /** The rows of the next table, below the header line of its first entry. */
  async *rowsOf(table: LoadedTable): AsyncGenerator<Buffer> {
    for (const [index, entry] of table.entries.entries()) {
      this.current = entry;
      yield* index === 0 ? this.next() : withoutHeader(this.next());
      this.onEntry(entry);
    }
  }

  async close(): Promise<void> {
    await this.upcoming?.rest.return(undefined);
    this.upcoming = undefined;
    await this.sequence.close();
  }

  private async *next(): AsyncGenerator<Buffer> {
    const { upcoming } = this;
    if (upcoming === undefined) throw new Error('All entries have been read');
    this.upcoming = this.start();
    const { first, rest } = upcoming;
    try {
      const { value, done } = await first;
      if (done !== true) yield value;
      yield* rest;
    } finally {
      await rest.return(undefined);
    }
  }

  private start(): StartedEntry | undefined {
    const rest = this.sequence.next();
    if (rest === undefined) return undefined;
    const first = rest.next();
    first.catch(() => undefined); // next() throws it.
    return { first, rest };
  }
}

const QUOTE = 0x22;
const NEWLINE = 0x0a;

/** CSV without its first line, which ends at the first newline outside quotes: column names may hold newlines. */
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
