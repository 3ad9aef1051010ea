import { Failure } from '#contracts';
import { Deflaters } from './deflater.js';
import { MANIFEST_NAME } from './entry-names.js';
import { EntryWriter, Memory } from './entry-writer.js';
import { createManifest, type Manifest, type ManifestFacts, MAX_MANIFEST_BYTES } from './manifest.js';
import { Slots } from './slots.js';
import { centralDirectory, type EntryRecord, entryTime, type EntryTime, extent } from './zip-records.js';

export interface ArchiveWriterOptions {
  /** zlib's, from 0 (stored) to 9. */
  compressionLevel: number;
  /** Every entry carries it, so that equal data makes equal entries. */
  modifiedAt: Date;
  /** So many entries may be begun and not yet written: each of them holds up to ENTRY_MEMORY_BYTES. */
  entriesAtOnce: number;
}

/** Takes the archive's bytes, in order, and has used them when it resolves. Calls do not overlap. */
export type ArchiveSink = (bytes: Buffer) => Promise<void>;

/**
 * Writes an archive as FORMAT.md describes it: entries one after the other, the manifest last. Several of them can
 * be filled at once; they are compressed side by side, and appear in the order in which they were begun.
 */
export class ArchiveWriter {
  private readonly time: EntryTime;
  private readonly slots: Slots;
  private readonly memory = new Memory();
  private readonly deflaters: Deflaters;
  private readonly records: EntryRecord[] = [];
  /** Settles when every entry that was begun is written. */
  private written = Promise.resolve();

  constructor(
    private readonly sink: ArchiveSink,
    private readonly options: ArchiveWriterOptions,
  ) {
    this.time = entryTime(options.modifiedAt);
    this.slots = new Slots(options.entriesAtOnce);
    this.deflaters = new Deflaters(options.compressionLevel);
  }

  /**
   * Takes the next place in the archive, in the order of the calls; waits while too many entries are open.
   * @throws what another entry, or the sink, failed with
   */
  async begin(name: string): Promise<EntryWriter> {
    const entry = this.place(name);
    await this.room();
    return entry;
  }

  /** Takes the next place in the archive, for an entry that is filled when there is room, and after those before it. */
  place(name: string): EntryWriter {
    const entry = new EntryWriter(name, {
      compressionLevel: this.options.compressionLevel,
      time: this.time,
      sink: this.sink,
      turn: this.written.then(() => this.length),
      memory: this.memory,
      deflaters: this.deflaters,
    });
    this.written = entry.written.then((record) => {
      this.records.push(record);
    });
    return entry;
  }

  /**
   * Waits while too many entries are open. What was placed since the last call counts as one: its entries must be
   * filled one after the other, and only a small one may be ended before it is written.
   * @throws what another entry, or the sink, failed with
   */
  async room(): Promise<void> {
    this.written.then(
      () => this.slots.give(),
      (error: unknown) => this.slots.fail(error),
    );
    await this.slots.take();
  }

  /**
   * Writes the manifest as the last entry and closes the zip.
   * @throws Failure ARCHIVE_TOO_LARGE; what an entry or the sink failed with
   */
  async finish(facts: ManifestFacts): Promise<Manifest> {
    const manifest = createManifest(facts);
    const text = Buffer.from(`${JSON.stringify(manifest, null, 1)}\n`);
    if (text.length > MAX_MANIFEST_BYTES)
      throw new Failure(
        'ARCHIVE_TOO_LARGE',
        'permanent',
        `The archive's manifest would have ${text.length} bytes, and ${MAX_MANIFEST_BYTES} are the most.`,
        { hint: 'Back up fewer schemas at a time: REPOSITORY_SCHEMAS names them.' },
      );
    const entry = await this.begin(MANIFEST_NAME);
    await entry.write(text);
    await entry.end();
    await this.written;
    this.deflaters.close();
    await this.sink(centralDirectory(this.records, this.time, this.length));
    return manifest;
  }

  /** Bytes of the entries that are written. */
  private get length(): number {
    const last = this.records.at(-1);
    return last === undefined ? 0 : last.offset + extent(last);
  }
}
