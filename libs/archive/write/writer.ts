import { Failure } from '#common';
import { MANIFEST_NAME } from '../entries.js';
import { BufferPool, EntryWriter } from './entry-writer.js';
import { createManifest, type Manifest, type ManifestFacts, MAX_MANIFEST_BYTES } from '../manifest.js';
import { type ZipSink, ZipStream, type ZipStreamOptions } from './zip-stream.js';

export interface ArchiveWriterOptions extends ZipStreamOptions {
  /** How many bytes may be held of entries that are filled and not yet written. */
  waitingBytes: number;
}

/**
 * Writes an archive as docs/archive-format.md describes it: entries one after the other, the manifest last. Several of them can
 * be filled at once; they are compressed side by side, and lie in the archive in the order in which they were filled.
 */
export class ArchiveWriter {
  private readonly zip: ZipStream;
  private readonly pool = new BufferPool();
  private readonly waitingBytes: number;
  private heldBytes = 0;
  private failure: Error | undefined;
  private readonly waiting: { below: number; resolve: () => void; reject: (error: unknown) => void }[] = [];

  /** @param sink takes the archive's bytes, in order, and has used them when it resolves; calls do not overlap */
  constructor(sink: ZipSink, { waitingBytes, ...options }: ArchiveWriterOptions) {
    this.waitingBytes = waitingBytes;
    this.zip = new ZipStream(sink, options);
    this.zip.ended.catch((error: unknown) => this.fail(error));
  }

  /** Begins an entry. It holds up to ENTRY_MEMORY_BYTES while it is filled. */
  entry(name: string): EntryWriter {
    return new EntryWriter(name, {
      zip: this.zip,
      pool: this.pool,
      hold: (bytes) => this.hold(bytes),
      fail: (error) => this.fail(error),
    });
  }

  /**
   * Too much waits to be written if this is a promise: wait for it before you fill more.
   * @throws what an entry, or the sink, failed with
   */
  room(): Promise<void> | undefined {
    return this.heldBelow(this.waitingBytes);
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
    entry.end();
    await this.heldBelow(1);
    await this.zip.end();
    return manifest;
  }

  private heldBelow(below: number): Promise<void> | undefined {
    if (this.failure === undefined && this.heldBytes < below) return undefined;
    return new Promise((resolve, reject) => {
      if (this.failure !== undefined) reject(this.failure);
      else this.waiting.push({ below, resolve, reject });
    });
  }

  private hold(bytes: number): () => void {
    this.heldBytes += bytes;
    return () => {
      this.heldBytes -= bytes;
      for (const one of this.waiting.splice(0))
        if (this.heldBytes < one.below) one.resolve();
        else this.waiting.push(one);
    };
  }

  private fail(error: unknown): void {
    const failure = (this.failure ??= error instanceof Error ? error : new Error(String(error)));
    this.zip.destroy(failure);
    for (const { reject } of this.waiting.splice(0)) reject(failure);
  }
}
