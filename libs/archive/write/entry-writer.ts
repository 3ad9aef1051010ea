import type { PassThrough } from 'node:stream';
import { Checksums, checksumsOf, type ContentChecksums, ENTRY_MEMORY_BYTES } from '../entries.js';
import type { ManifestFile } from '../manifest.js';
import type { ZipStream } from './zip-stream.js';

/** Smaller entries are copied, so that their pool buffer is free for others. */
const SMALL_BYTES = 32 * 1024;

/** The memory of zlib while it compresses one entry. */
const COMPRESSOR_BYTES = 256 * 1024;

/** Reusable buffers of ENTRY_MEMORY_BYTES: garbage of this size would be costly. */
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
  /** Counts bytes as held until the returned function is called. */
  hold: (bytes: number) => () => void;
  /** Makes the whole archive fail. */
  fail: (error: unknown) => void;
}

/** An entry that is being filled. */
export class EntryWriter {
  private buffer: Buffer | undefined;
  private heldBytes = 0;
  private long: LongEntry | undefined;

  constructor(
    private readonly name: string,
    private readonly options: EntryWriterOptions,
  ) {}

  /**
   * Takes the next bytes. Reuse them, and write the next ones, when it has returned or its promise has resolved.
   * @throws the sink's error
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
   * Completes the entry. It is written later, behind the entries that were completed before.
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
    // A pool buffer and zlib take memory even for little content.
    const onWritten = hold(isSmall ? COMPRESSOR_BYTES : Math.max(this.heldBytes, ENTRY_MEMORY_BYTES / 4));
    const checksums = checksumsOf(content);
    zip.add(name, content, release, () => {
      release();
      onWritten();
    });
    return { name, ...checksums };
  }

  /** Makes the whole archive fail, because this entry cannot be completed. */
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

/** An entry that is compressed as a stream, because it is too long for memory. */
class LongEntry {
  private readonly checksums = new Checksums();

  constructor(private readonly content: PassThrough) {}

  async write(bytes: Buffer): Promise<void> {
    const { content } = this;
    if (content.errored !== null) throw content.errored;
    this.checksums.update(bytes);
    // The caller reuses its buffer.
    const copy = Buffer.from(bytes);
    await new Promise<void>((resolve, reject) => {
      // A destroyed stream never calls back a pending write.
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
