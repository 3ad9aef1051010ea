import { Failure } from '#contracts';
import { Deflaters } from './deflater.js';
import { MANIFEST_NAME } from './entry-names.js';
import { EntryWriter, Memory } from './entry-writer.js';
import { createManifest, type Manifest, type ManifestFacts, MAX_MANIFEST_BYTES } from './manifest.js';
import { centralDirectory, type EntryRecord, entryTime, type EntryTime, extent } from './zip-records.js';

export interface ArchiveWriterOptions {
  /** zlib's, from 0 (stored) to 9. */
  compressionLevel: number;
  /** Every entry carries it, so that equal data makes equal entries. */
  modifiedAt: Date;
  /** So much may be held of entries that are filled and not yet written. */
  waitingBytes: number;
}

/** Takes the archive's bytes, in order, and has used them when it resolves. Calls do not overlap. */
export type ArchiveSink = (bytes: Buffer) => Promise<void>;

/**
 * Writes an archive as FORMAT.md describes it: entries one after the other, the manifest last. Several of them can
 * be filled at once; they are compressed side by side, and lie in the archive in the order in which they were filled.
 */
export class ArchiveWriter {
  private readonly time: EntryTime;
  private readonly memory = new Memory();
  private readonly deflaters: Deflaters;
  private readonly records: EntryRecord[] = [];
  /** Settles when every entry that was filled is written. */
  private written = Promise.resolve();
  private waitingBytes = 0;
  private failed: { error: unknown } | undefined;
  /** Whoever waits for room. */
  private readonly line: { resolve: () => void; reject: (error: unknown) => void }[] = [];

  constructor(
    private readonly sink: ArchiveSink,
    private readonly options: ArchiveWriterOptions,
  ) {
    this.time = entryTime(options.modifiedAt);
    this.deflaters = new Deflaters(options.compressionLevel);
  }

  /** A new entry, to be filled now: each one holds up to ENTRY_MEMORY_BYTES meanwhile. */
  entry(name: string): EntryWriter {
    return new EntryWriter(name, {
      compressionLevel: this.options.compressionLevel,
      time: this.time,
      sink: this.sink,
      memory: this.memory,
      deflaters: this.deflaters,
      append: (bytes, write) => this.append(bytes, write),
      fail: (error) => this.fail(error),
    });
  }

  /**
   * To be waited for before more is filled, where it is a promise: too much waits to be written.
   * @throws what an entry, or the sink, failed with
   */
  room(): Promise<void> | undefined {
    if (this.failed !== undefined) return rejected(this.failed.error);
    if (this.waitingBytes < this.options.waitingBytes) return undefined;
    return new Promise((resolve, reject) => this.line.push({ resolve, reject }));
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
    const entry = this.entry(MANIFEST_NAME);
    await entry.write(text);
    await entry.end();
    await this.written;
    this.deflaters.close();
    await this.sink(centralDirectory(this.records, this.time, this.length));
    return manifest;
  }

  /** Has an entry written once all before it are. @param bytes what it holds in memory until then */
  private append(bytes: number, write: (offset: number) => Promise<EntryRecord>): Promise<void> {
    this.waitingBytes += bytes;
    const written = this.written.then(async () => {
      this.records.push(await write(this.length));
      this.waitingBytes -= bytes;
      if (this.waitingBytes < this.options.waitingBytes)
        for (const { resolve } of this.line.splice(0)) resolve();
    });
    this.written = written;
    written.catch((error: unknown) => this.fail(error));
    return written;
  }

  private fail(error: unknown): void {
    this.failed ??= { error };
    this.written = rejected(this.failed.error);
    this.written.catch(() => undefined); // Whoever waits for it hears of it.
    for (const { reject } of this.line.splice(0)) reject(this.failed.error);
  }

  /** Bytes of the entries that are written. */
  private get length(): number {
    const last = this.records.at(-1);
    return last === undefined ? 0 : last.offset + extent(last);
  }
}

function rejected(error: unknown): Promise<never> {
  return Promise.resolve().then(() => {
    throw error;
  });
}
