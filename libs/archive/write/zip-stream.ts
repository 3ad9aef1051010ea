import { createRequire } from 'node:module';
import { PassThrough, Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { crc32 } from 'node:zlib';
import { ZipFile } from 'yazl';

/**
 * The one file that uses internals of yazl, whose version is pinned. There are four reasons:
 * - yazl computes CRC-32 in JavaScript, ten times slower than zlib, through a function that can be replaced;
 * - yazl has no public event for the end of an entry's compression, which frees the memory of its content;
 * - yazl keeps the compressed bytes of all entries until the zip ends;
 * - yazl searches the next entry from the first one on, so its time would grow with the square of their number.
 */
interface YazlEntry {
  state: number;
  utf8FileName: Buffer;
  crcAndFileSizeKnown: boolean;
  compressedSize: number;
  relativeOffsetOfLocalHeader: number;
  useZip64Format(): boolean;
  /** Called when the entry is compressed, with the function that writes its compressed bytes. */
  setFileDataPumpFunction(pump: () => void): void;
  doFileDataPump: (() => void) | undefined;
}

/** Entry.FILE_DATA_DONE */
const WRITTEN = 3;

const crcOfYazl = createRequire(require.resolve('yazl'))('buffer-crc32') as {
  unsigned: (bytes: Buffer, before?: number) => number;
};
crcOfYazl.unsigned = (bytes, before = 0) => crc32(bytes, before);

/** Shorter entries are stored: setting up zlib costs more than it saves. */
const STORED_BELOW_BYTES = 1024;

/** yazl writes DOS time in the zone of the process. The archive's is UTC. */
class UtcDate extends Date {
  override getFullYear = () => this.getUTCFullYear();
  override getMonth = () => this.getUTCMonth();
  override getDate = () => this.getUTCDate();
  override getHours = () => this.getUTCHours();
  override getMinutes = () => this.getUTCMinutes();
  override getSeconds = () => this.getUTCSeconds();
}

export interface ZipStreamOptions {
  /** zlib's, from 0 (stored) to 9. */
  compressionLevel: number;
  modifiedAt: Date;
}

/** Takes the zip's bytes in order, and resolves when they can be reused. Calls do not overlap. */
export type ZipSink = (bytes: Buffer) => Promise<void>;

interface Waiting {
  entry: YazlEntry;
  onWritten: () => void;
}

/** A zip that yazl writes into a sink. Entries lie in it in the order in which they are added. */
export class ZipStream {
  /** Resolves when the sink has taken the last byte. @throws the error of the sink or of an entry */
  readonly ended: Promise<void>;
  private readonly zip = new ZipFile() as ZipFile & { entries: YazlEntry[]; outputStream: PassThrough };
  private readonly options: { compressionLevel: number; mtime: Date };
  private readonly taken: YazlEntry[] = [];
  private readonly waiting: Waiting[] = [];
  private readonly streams = new Set<PassThrough>();
  /** Bytes that the sink has taken. */
  private length = 0;

  constructor(
    private readonly sink: ZipSink,
    { compressionLevel, modifiedAt }: ZipStreamOptions,
  ) {
    this.options = { compressionLevel, mtime: new UtcDate(modifiedAt) };
    // A pipe passes on yazl's pieces one by one; reading the stream would join them.
    const into = new Writable({
      highWaterMark: 1,
      write: (bytes: Buffer, _encoding, done) => void this.take(bytes).then(() => done(), done),
    });
    this.ended = pipeline(this.zip.outputStream, into);
    this.ended.catch(() => undefined); // end() throws it.
  }

  /**
   * Adds an entry with all its content. It is compressed immediately, on zlib's threads.
   * @param onCompressed called when the content is no longer needed
   * @param onWritten called when the sink has taken the entry
   */
  add(name: string, content: Buffer, onCompressed: () => void, onWritten: () => void): void {
    const { mtime, compressionLevel: level } = this.options;
    const compressionLevel = content.length < STORED_BELOW_BYTES ? 0 : level;
    this.zip.addBuffer(content, name, { mtime, compressionLevel });
    const entry = this.lastAdded();
    this.waiting.push({ entry, onWritten });
    if (compressionLevel === 0) return; // The content itself is written.
    entry.setFileDataPumpFunction = (pump) => {
      // yazl keeps the entry until the zip ends, and this function would keep the memory that it refers to.
      Reflect.deleteProperty(entry, 'setFileDataPumpFunction');
      entry.setFileDataPumpFunction(pump);
      onCompressed();
    };
  }

  /** Adds an entry whose content follows as a stream. It is compressed in its turn, at least at level 1. */
  addLong(name: string, onWritten: () => void): PassThrough {
    const content = new PassThrough();
    content.on('error', () => undefined); // write() throws it.
    this.streams.add(content);
    const compressionLevel = Math.max(1, this.options.compressionLevel);
    this.zip.addReadStream(content, name, { ...this.options, compressionLevel });
    const written = () => {
      this.streams.delete(content);
      onWritten();
    };
    this.waiting.push({ entry: this.lastAdded(), onWritten: written });
    return content;
  }

  /** Writes the central directory. Call it when all entries have been written. */
  async end(): Promise<void> {
    this.zip.entries = this.taken;
    this.zip.end();
    await this.ended;
  }

  /** Stops writing. */
  destroy(error: Error): void {
    this.zip.outputStream.destroy(error);
    for (const content of this.streams) content.destroy(error);
  }

  private lastAdded(): YazlEntry {
    const entry = this.zip.entries.at(-1);
    if (entry === undefined) throw new Error('yazl has added no entry');
    return entry;
  }

  private async take(bytes: Buffer): Promise<void> {
    await this.sink(bytes);
    this.length += bytes.length;
    for (
      let [first] = this.waiting;
      first !== undefined && this.hasTaken(first.entry);
      [first] = this.waiting
    ) {
      this.waiting.shift();
      this.zip.entries.shift();
      first.entry.doFileDataPump = undefined;
      this.taken.push(first.entry);
      first.onWritten();
    }
  }

  private hasTaken(entry: YazlEntry): boolean {
    if (entry.state < WRITTEN) return false;
    const descriptor = entry.crcAndFileSizeKnown ? 0 : entry.useZip64Format() ? 24 : 16;
    const extent = 30 + entry.utf8FileName.length + entry.compressedSize + descriptor;
    return this.length >= entry.relativeOffsetOfLocalHeader + extent;
  }
}
