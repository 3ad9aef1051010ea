import type { PassThrough } from 'node:stream';
import { Checksums, checksumsOf, type ContentChecksums, ENTRY_MEMORY_BYTES } from '../entries.js';
import type { ManifestFile } from '../manifest.js';
import type { ZipStream } from './zip-stream.js';

/** Entries smaller than this are held in memory of their own, so that a buffer of full size is free for others. */
const SMALL_BYTES = 32 * 1024;

/** What zlib holds to compress one entry. */
const COMPRESSOR_BYTES = 256 * 1024;

/** Buffers of ENTRY_MEMORY_BYTES that are used again and again: garbage of this size would be costly. */
export class BufferPool {
  private readonly free: Buffer[] = [];

  acquire(): Buffer {
    return this.free.pop() ?? Buffer.allocUnsafeSlow(ENTRY_MEMORY_BYTES);
  }

  release(buffer: Buffer): void {
    this.free.push(buffer);
  }
}

export interface EntryWriterOptions {
  zip: ZipStream;
  pool: BufferPool;
  /** Counts bytes that are held until the function that it returns is called. */
  hold: (bytes: number) => () => void;
  /** The archive is beyond repair. */
  fail: (error: unknown) => void;
}

/** One entry that is being filled. */
export class EntryWriter {
  private buffer: Buffer | undefined;
  private heldBytes = 0;
  private long: LongEntry | undefined;

  constructor(
    private readonly name: string,
    private readonly options: EntryWriterOptions,
  ) {}

  /**
   * Takes the next bytes, and has used them when it returns, or its promise resolves. Give no more before.
   * @throws what the sink failed with
   */
  write(bytes: Buffer): Promise<void> | undefined {
    if (this.long !== undefined) return this.long.write(bytes);
    if (this.heldBytes + bytes.length > ENTRY_MEMORY_BYTES) return this.becomeLong(bytes);
    this.buffer ??= this.options.pool.acquire();
    bytes.copy(this.buffer, this.heldBytes);
    this.heldBytes += bytes.length;
    return undefined;
  }

  /**
   * The entry is complete, and takes its place behind those that were completed before; it is written later.
   * @returns its length and checksums
   */
  end(): ManifestFile {
    const { name } = this;
    if (this.long !== undefined) return { name, ...this.long.end() };
    const { zip, pool, hold } = this.options;
    const isSmall = this.heldBytes < SMALL_BYTES;
    const content = isSmall ? Buffer.from(this.held) : this.held;
    const release = () => this.release(pool);
    if (isSmall) release();
    // A buffer of which little is used is not free either, nor is what compresses it.
    const onWritten = hold(isSmall ? COMPRESSOR_BYTES : Math.max(this.heldBytes, ENTRY_MEMORY_BYTES / 4));
    const checksums = checksumsOf(content);
    zip.add(name, content, release, () => {
      release();
      onWritten();
    });
    return { name, ...checksums };
  }

  /** The entry cannot be completed: the archive is beyond repair. */
  fail(error: unknown): void {
    this.options.fail(error);
  }

  private async becomeLong(next: Buffer): Promise<void> {
    const { zip, pool, hold } = this.options;
    this.long = new LongEntry(zip.addLong(this.name, hold(ENTRY_MEMORY_BYTES)));
    await this.long.write(this.held);
    this.release(pool);
    await this.long.write(next);
  }

  private get held(): Buffer {
    return this.buffer?.subarray(0, this.heldBytes) ?? Buffer.alloc(0);
  }

  private release(pool: BufferPool): void {
    if (this.buffer !== undefined) pool.release(this.buffer);
    this.buffer = undefined;
  }
}

/** An entry that is compressed as it comes, since it is too long to be held. */
class LongEntry {
  private readonly checksums = new Checksums();

  constructor(private readonly content: PassThrough) {}

  async write(bytes: Buffer): Promise<void> {
    const { content } = this;
    if (content.errored !== null) throw content.errored;
    this.checksums.update(bytes);
    // The caller uses its bytes again.
    const copy = Buffer.from(bytes);
    await new Promise<void>((resolve, reject) => {
      // A stream that is destroyed forgets the callback of a write that is under way.
      content.once('error', reject);
      content.write(copy, () => {
        content.off('error', reject);
        resolve();
      });
    });
  }

  end(): ContentChecksums {
    this.content.end();
    return this.checksums.result();
  }
}
