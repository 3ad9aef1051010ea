import { createDeflateRaw, deflateRawSync } from 'node:zlib';
import { Checksums, checksumsOf } from './checksums.js';
import { type Deflaters, zlibOptions } from './deflater.js';
import type { ManifestFile } from './manifest.js';
import type { ArchiveSink } from './writer.js';
import { dataDescriptor, type EntryRecord, type EntryTime, localHeader } from './zip-records.js';

/** What an entry holds in memory before it is compressed. A longer one is compressed as it comes, in its turn. */
export const ENTRY_MEMORY_BYTES = 8 * 1024 * 1024;

/** Entries smaller than this are compressed synchronously: handing them to the thread pool takes longer. */
const SMALL_BYTES = 32 * 1024;

/** What fits into this window gains nothing from a larger one, which takes longer to set up than to use. */
const TINY_BYTES = 4 * 1024;
const TINY = { windowBits: 12, memLevel: 5 } as const;

export interface EntryWriterOptions {
  compressionLevel: number;
  time: EntryTime;
  sink: ArchiveSink;
  /** Where it is held in memory. */
  memory: Memory;
  deflaters: Deflaters;
  /** Has the entry written at its offset, once all before it are; told how many bytes it holds until then. */
  append: (bytes: number, write: (offset: number) => Promise<EntryRecord>) => Promise<void>;
  /** The archive is beyond repair. */
  fail: (error: unknown) => void;
}

/** Buffers of ENTRY_MEMORY_BYTES that are used again and again: garbage of this size would be costly. */
export class Memory {
  private readonly free: Buffer[] = [];

  take(): Buffer {
    return this.free.pop() ?? Buffer.allocUnsafeSlow(ENTRY_MEMORY_BYTES);
  }

  give(buffer: Buffer): void {
    this.free.push(buffer);
  }
}

/**
 * One entry that is being filled. An entry that fits into memory is compressed in one go, on zlib's threads and
 * beside others; its lengths stand in its header.
 */
export class EntryWriter {
  private memory: Buffer | undefined;
  private heldBytes = 0;
  private streamed: Promise<StreamedEntry> | undefined;

  constructor(
    private readonly name: string,
    private readonly options: EntryWriterOptions,
  ) {}

  /** Takes the next bytes, and has used them when it returns, or its promise resolves. Give no more before. */
  write(bytes: Buffer): Promise<void> | undefined {
    if (this.streamed !== undefined) return this.streamed.then((entry) => entry.write(bytes));
    if (this.heldBytes + bytes.length > ENTRY_MEMORY_BYTES) return this.stream(bytes);
    this.memory ??= this.options.memory.take();
    bytes.copy(this.memory, this.heldBytes);
    this.heldBytes += bytes.length;
    return undefined;
  }

  /**
   * The entry is complete, and takes its place behind those that were completed before. Resolves when its checksums are
   * known; it may be written later. @throws what the sink failed with
   */
  async end(): Promise<ManifestFile> {
    try {
      return await (this.streamed === undefined ? this.endHeld() : this.endStream(await this.streamed));
    } catch (error) {
      this.fail(error);
      throw error;
    }
  }

  /** The entry cannot be completed: the archive is beyond repair. */
  fail(error: unknown): void {
    this.options.fail(error);
    this.streamed?.then(
      (entry) => entry.destroy(error),
      () => undefined,
    );
  }

  private async endHeld(): Promise<ManifestFile> {
    const { name } = this;
    const { compressionLevel, time, sink, append } = this.options;
    const content = this.held;
    const packing = this.pack(content);
    const checksums = checksumsOf(content);
    const packed = (async () => {
      // A small one is done with at once: while others come in one go, its memory is theirs.
      const pieces = packing instanceof Promise ? await packing : packing;
      if (pieces[0] !== content) this.letGo();
      return pieces;
    })();
    const written = append(this.cost, async (offset) => {
      const pieces = await packed;
      const record: EntryRecord = {
        name,
        method: compressionLevel === 0 ? 0 : 8,
        crc32: parseInt(checksums.crc32, 16),
        compressedLength: pieces.reduce((sum, piece) => sum + piece.length, 0),
        length: checksums.length,
        offset,
        streamed: false,
      };
      await sink(localHeader(record, time));
      for (const piece of pieces) await sink(piece);
      this.letGo();
      return record;
    });
    written.catch(() => undefined); // The writer hears of it.
    await packed;
    return { name, ...checksums };
  }

  private async stream(next: Buffer): Promise<void> {
    this.streamed = new Promise((resolve, reject) => {
      const written = this.options.append(0, async (offset) => {
        const entry = await StreamedEntry.begin(this.name, offset, this.options);
        resolve(entry);
        return entry.written;
      });
      written.catch(reject);
    });
    const entry = await this.streamed;
    await entry.write(this.held);
    await entry.write(next);
  }

  /** @returns the content itself where a long one is to be stored */
  private pack(content: Buffer): Promise<Buffer[]> | Buffer[] {
    const { compressionLevel: level, deflaters } = this.options;
    if (content.length >= SMALL_BYTES) return level === 0 ? [content] : deflaters.deflate(content);
    if (level === 0) return [Buffer.from(content)];
    return [deflateRawSync(content, { level, ...(content.length <= TINY_BYTES && TINY) })];
  }

  /** Bytes that it holds until it is written. A buffer of which little is used is not free either. */
  private get cost(): number {
    return this.heldBytes < SMALL_BYTES ? this.heldBytes : Math.max(this.heldBytes, ENTRY_MEMORY_BYTES / 4);
  }

  private get held(): Buffer {
    return this.memory?.subarray(0, this.heldBytes) ?? Buffer.alloc(0);
  }

  /** What was held has been compressed, or written. */
  private letGo(): void {
    if (this.memory !== undefined) this.options.memory.give(this.memory);
    this.memory = undefined;
  }

  private async endStream(entry: StreamedEntry): Promise<ManifestFile> {
    const file = await entry.end();
    this.letGo();
    return file;
  }
}

/** An entry that is compressed as it comes, since it is too long to be held. Its lengths stand behind it. */
class StreamedEntry {
  /** Settles when all of the entry has been taken by the sink. */
  readonly written: Promise<EntryRecord>;
  private settle: { resolve: (record: EntryRecord) => void; reject: (error: unknown) => void };
  private readonly checksums = new Checksums();
  private readonly deflate;
  private readonly pumping: Promise<void>;
  private packedBytes = 0;
  private rejectWrite: (error: unknown) => void = () => undefined;

  private constructor(
    private readonly record: EntryRecord,
    private readonly options: EntryWriterOptions,
  ) {
    this.settle = { resolve: () => undefined, reject: () => undefined };
    this.written = new Promise((resolve, reject) => (this.settle = { resolve, reject }));
    // At level 0 zlib's blocks would be as long as the writes, and equal data would not give equal entries.
    this.deflate = createDeflateRaw(zlibOptions(Math.max(1, options.compressionLevel)));
    this.pumping = this.pump();
    // zlib does not answer a write any more when nobody takes its output: whoever waits for that hears of it here.
    this.pumping.catch((error: unknown) => this.rejectWrite(error));
  }

  static async begin(name: string, offset: number, options: EntryWriterOptions): Promise<StreamedEntry> {
    const record = { name, method: 8, crc32: 0, compressedLength: 0, length: 0, offset, streamed: true };
    await options.sink(localHeader(record, options.time));
    return new StreamedEntry(record, options);
  }

  async write(bytes: Buffer): Promise<void> {
    this.checksums.update(bytes);
    try {
      await new Promise<void>((resolve, reject) => {
        this.rejectWrite = reject;
        this.deflate.write(bytes, (error) => (error ? reject(error) : resolve()));
      });
    } catch (error) {
      await this.pumping; // What the sink failed with says more than that nothing can be written any more.
      throw error;
    }
  }

  async end(): Promise<ManifestFile> {
    this.deflate.end();
    await this.pumping;
    const checksums = this.checksums.result();
    const record = {
      ...this.record,
      crc32: parseInt(checksums.crc32, 16),
      compressedLength: this.packedBytes,
      length: checksums.length,
    };
    await this.options.sink(dataDescriptor(record));
    this.settle.resolve(record);
    return { name: record.name, ...checksums };
  }

  destroy(error: unknown): void {
    this.deflate.destroy();
    this.settle.reject(error);
  }

  private async pump(): Promise<void> {
    for await (const packed of this.deflate as AsyncIterable<Buffer>) {
      this.packedBytes += packed.length;
      await this.options.sink(packed);
    }
  }
}
