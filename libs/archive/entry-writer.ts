import { createDeflateRaw, deflateRawSync } from 'node:zlib';
import { Checksums, checksumsOf } from './checksums.js';
import { type Deflaters, zlibOptions } from './deflater.js';
import type { ManifestFile } from './manifest.js';
import type { ArchiveSink } from './writer.js';
import { dataDescriptor, type EntryRecord, type EntryTime, localHeader } from './zip-records.js';

/** What an entry holds in memory before it is compressed. A longer one is compressed as it comes, in its turn. */
export const ENTRY_MEMORY_BYTES = 8 * 1024 * 1024;

/** What is shorter than this is compressed before another thread would have begun with it, and not held any more then. */
export const SMALL_BYTES = 32 * 1024;

/** What fits into this window gains nothing from a larger one, which takes longer to set up than to use. */
const TINY_BYTES = 4 * 1024;
const TINY = { windowBits: 12, memLevel: 5 } as const;

export interface EntryWriterOptions {
  compressionLevel: number;
  time: EntryTime;
  sink: ArchiveSink;
  /** Resolves, with its offset, when all entries before it are written. */
  turn: Promise<number>;
  /** Where it is held in memory. */
  memory: Memory;
  deflaters: Deflaters;
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
  /** Settles when all of the entry has been taken by the sink. */
  readonly written: Promise<EntryRecord>;
  private resolve: (record: EntryRecord) => void = () => undefined;
  private reject: (error: unknown) => void = () => undefined;
  private memory: Buffer | undefined;
  private heldBytes = 0;
  private streamed: Promise<StreamedEntry> | undefined;

  constructor(
    private readonly name: string,
    private readonly options: EntryWriterOptions,
  ) {
    this.written = new Promise((resolve, reject) => {
      this.resolve = resolve;
      this.reject = reject;
    });
    this.written.catch(() => undefined); // The writer hears of it.
    options.turn.catch((error: unknown) => this.reject(error));
  }

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
   * The entry is complete. Resolves when its checksums are known and nothing more needs to be held back; it may be
   * written later. @throws what the sink failed with
   */
  async end(): Promise<ManifestFile> {
    try {
      if (this.streamed !== undefined) return await this.endStream(await this.streamed);
      const { name } = this;
      const { compressionLevel, time, sink, turn } = this.options;
      const content = this.held;
      const packing = this.pack(content);
      const checksums = checksumsOf(content);
      // A small one is done with at once: while others come in one go, its memory is theirs.
      const pieces = packing instanceof Promise ? await packing : packing;
      const write = async () => {
        const record: EntryRecord = {
          name,
          method: compressionLevel === 0 ? 0 : 8,
          crc32: parseInt(checksums.crc32, 16),
          compressedLength: pieces.reduce((sum, piece) => sum + piece.length, 0),
          length: checksums.length,
          offset: await turn,
          streamed: false,
        };
        await sink(localHeader(record, time));
        for (const piece of pieces) await sink(piece);
        this.letGo();
        return record;
      };
      if (pieces[0] !== content) this.letGo();
      write().then(this.resolve, this.reject);
      return { name, ...checksums };
    } catch (error) {
      this.fail(error);
      throw error;
    }
  }

  /** The entry cannot be completed: the archive is beyond repair. */
  fail(error: unknown): void {
    this.reject(error);
    this.streamed?.then(
      (entry) => entry.destroy(),
      () => undefined,
    );
  }

  private async stream(next: Buffer): Promise<void> {
    this.streamed = this.options.turn.then((offset) => StreamedEntry.begin(this.name, offset, this.options));
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

  private get held(): Buffer {
    return this.memory?.subarray(0, this.heldBytes) ?? Buffer.alloc(0);
  }

  /** What was held has been compressed, or written. */
  private letGo(): void {
    if (this.memory !== undefined) this.options.memory.give(this.memory);
    this.memory = undefined;
  }

  private async endStream(entry: StreamedEntry): Promise<ManifestFile> {
    const { record, file } = await entry.end();
    this.letGo();
    this.resolve(record);
    return file;
  }
}

/** An entry that is compressed as it comes, since it is too long to be held. Its lengths stand behind it. */
class StreamedEntry {
  private readonly checksums = new Checksums();
  private readonly deflate;
  private readonly pumping: Promise<void>;
  private packedBytes = 0;
  private rejectWrite: (error: unknown) => void = () => undefined;

  private constructor(
    private readonly record: EntryRecord,
    private readonly options: EntryWriterOptions,
  ) {
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

  async end(): Promise<{ record: EntryRecord; file: ManifestFile }> {
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
    return { record, file: { name: record.name, ...checksums } };
  }

  destroy(): void {
    this.deflate.destroy();
  }

  private async pump(): Promise<void> {
    for await (const packed of this.deflate as AsyncIterable<Buffer>) {
      this.packedBytes += packed.length;
      await this.options.sink(packed);
    }
  }
}
