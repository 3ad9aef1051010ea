import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { type Entry, fromRandomAccessReaderPromise, RandomAccessReader, type ZipFile } from 'yauzl';
import { Failure } from '#contracts';
import { MANIFEST_NAME } from './entry-names.js';
import { invalid, type Manifest, parseManifest } from './manifest.js';

/** Something that bytes can be read from by range, such as an object in a store. */
export interface RangeSource {
  /** Bytes in all. */
  length: number;
  /** The bytes from `start` to just before `end`. */
  read(start: number, end: number): Promise<Readable>;
}

/** A manifest that is longer than this is no honest one; it bounds what reading a hostile archive costs. */
const MAX_MANIFEST_BYTES = 64 * 1024 * 1024;
/** The central directory is read in pieces of this size instead of record by record. */
const WINDOW_BYTES = 512 * 1024;

export interface OpenArchive {
  manifest: Manifest;
}

/**
 * Opens an archive where it lies: reads the central directory and the manifest, and checks that every entry
 * of the manifest is there with the length and the CRC-32 that the manifest gives.
 * @throws Failure ARCHIVE_INVALID, or what the source fails with
 */
export async function openArchive(source: RangeSource): Promise<OpenArchive> {
  const reader = new WindowedReader(source);
  try {
    const zip = await fromRandomAccessReaderPromise(reader, source.length, {
      autoClose: false,
      strictFileNames: true,
    });
    const entries = await listEntries(zip);
    const manifest = parseManifest(await readManifest(zip, entries));
    for (const { entries: expected } of manifest.tables)
      for (const { name, length, crc32 } of expected) {
        const entry = entries.get(name);
        if (entry === undefined) throw invalid(`the entry ${name} is missing`);
        if (entry.uncompressedSize !== length || entry.crc32 !== parseInt(crc32, 16))
          throw invalid(`the entry ${name} is not the one that the manifest describes`);
      }
    return { manifest };
  } catch (error) {
    const failure = reader.failure ?? error;
    throw failure instanceof Failure ? failure : invalid((failure as Error).message, failure);
  }
}

async function listEntries(zip: ZipFile): Promise<Map<string, Entry>> {
  const entries = new Map<string, Entry>();
  for await (const entry of zip.eachEntry()) {
    if (entries.has(entry.fileName)) throw invalid(`the entry ${entry.fileName} is there twice`);
    entries.set(entry.fileName, entry);
  }
  return entries;
}

async function readManifest(zip: ZipFile, entries: Map<string, Entry>): Promise<string> {
  const entry = entries.get(MANIFEST_NAME);
  if (entry === undefined) throw invalid(`it holds no ${MANIFEST_NAME}`);
  if (entry.uncompressedSize > MAX_MANIFEST_BYTES) throw invalid(`its ${MANIFEST_NAME} is too long`);
  return (await buffer(await zip.openReadStreamPromise(entry))).toString('utf8');
}

/** Gives yauzl bytes by range: small reads out of a window that moves along, so that few requests are made. */
class WindowedReader extends RandomAccessReader {
  /** What the source failed with: yauzl passes errors on, but only as far as it likes. */
  failure: unknown;
  private window = { start: 0, bytes: Buffer.alloc(0) };

  constructor(private readonly source: RangeSource) {
    super();
  }

  override read(
    target: Buffer,
    offset: number,
    length: number,
    position: number,
    done: (error: Error | null) => void,
  ): void {
    this.readInto(target, offset, length, position).then(
      () => done(null),
      (error: unknown) => {
        this.failure ??= error;
        done(error as Error);
      },
    );
  }

  override _readStreamForRange(start: number, end: number): Readable {
    const read = async function* (source: RangeSource) {
      yield* await source.read(start, end);
    };
    return Readable.from(read(this.source), { objectMode: false });
  }

  private async readInto(target: Buffer, offset: number, length: number, position: number): Promise<void> {
    const end = position + length;
    if (position < 0 || end > this.source.length) throw invalid('it points outside itself');
    if (position < this.window.start || end > this.window.start + this.window.bytes.length) {
      // yauzl starts at the end of the file and then goes through the central directory from its start.
      const atEnd = end === this.source.length;
      const from = atEnd ? Math.max(0, end - Math.max(length, WINDOW_BYTES)) : position;
      const to = Math.min(this.source.length, Math.max(end, from + WINDOW_BYTES));
      const bytes = await buffer(await this.source.read(from, to));
      if (bytes.length !== to - from) throw new Error(`a read of ${to - from} bytes gave ${bytes.length}`);
      this.window = { start: from, bytes };
    }
    this.window.bytes.copy(target, offset, position - this.window.start, end - this.window.start);
  }
}
