import { Failure } from '#common';
import { MANIFEST_NAME } from '../entries.js';
import { BufferPool, EntryWriter } from './entry-writer.js';
import { createManifest, type Manifest, type ManifestFacts, MAX_MANIFEST_BYTES } from '../manifest.js';
import { type ZipSink, ZipStream, type ZipStreamOptions } from './zip-stream.js';

export interface ArchiveWriterOptions extends ZipStreamOptions {
  /** The limit of bytes of filled entries that wait to be written. */
  waitingBytes: number;
}

/** Longer manifests, which nobody reads with their eyes, are not indented: that would make them half as long again. */
const INDENTED_LENGTH = 1024 ** 2;

/**
 * Writes an archive as docs/archive-format.md describes it, the manifest last. Several entries can be filled at once. They
 * are compressed in parallel, and lie in the archive in the order in which they were completed.
 */
export class ArchiveWriter {
  private readonly zip: ZipStream;
  private readonly pool = new BufferPool();
  private readonly waitingBytes: number;
  private heldBytes = 0;
  private failure: Error | undefined;
  private readonly waiting: { below: number; resolve: () => void; reject: (error: unknown) => void }[] = [];

  /** @param sink takes the archive's bytes in order, and resolves when they can be reused; calls do not overlap */
  constructor(sink: ZipSink, { waitingBytes, ...options }: ArchiveWriterOptions) {
    this.waitingBytes = waitingBytes;
    this.zip = new ZipStream(sink, options);
    this.zip.ended.catch((error: unknown) => this.fail(error));
  }

  /** Starts an entry, which holds up to ENTRY_MEMORY_BYTES while it is filled. */
  entry(name: string): EntryWriter {
    return new EntryWriter(name, {
      zip: this.zip,
      pool: this.pool,
      hold: (bytes) => this.hold(bytes),
      fail: (error) => this.fail(error),
    });
  }

  /**
   * Returns a promise if too many bytes wait to be written: await it before you fill another entry.
   * @throws the error of an entry or of the sink
   */
  room(): Promise<void> | undefined {
    return this.heldBelow(this.waitingBytes);
  }

  /**
   * Writes the manifest as the last entry and closes the zip.
   * @throws Failure ARCHIVE_TOO_LARGE; the error of an entry or of the sink
   */
  async finish(facts: ManifestFacts): Promise<Manifest> {
    const manifest = createManifest(facts);
    const compact = JSON.stringify(manifest);
    const text = Buffer.from(
      `${compact.length > INDENTED_LENGTH ? compact : JSON.stringify(manifest, null, 1)}\n`,
    );
    if (text.length > MAX_MANIFEST_BYTES)
      throw new Failure(
        'ARCHIVE_TOO_LARGE',
        'permanent',
        `The archive's manifest would have ${text.length} bytes; the limit is ${MAX_MANIFEST_BYTES} bytes.`,
        { hint: 'Remove schemas from REPOSITORY_SCHEMAS, and back them up separately.' },
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
