import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { isDeepStrictEqual, promisify } from 'node:util';
import { crc32, createInflateRaw, inflateRaw, type ZlibOptions } from 'node:zlib';
import { type Entry, fromRandomAccessReaderPromise, RandomAccessReader } from 'yauzl';
import { Failure } from '#common';
import {
  Checksums,
  checksumsOf,
  type ContentChecksums,
  ENTRY_MEMORY_BYTES,
  MANIFEST_NAME,
} from '../entries.js';
import {
  filesOf,
  invalid,
  MAX_MANIFEST_BYTES,
  type Manifest,
  type ManifestFile,
  parseManifest,
  totalsOf,
} from '../manifest.js';
import { expectModestJson } from './modest-json.js';
import { type RangeSource, SequentialReader } from './range-source.js';
import {
  centralDirectory,
  dataDescriptor,
  type EntryRecord,
  entryTime,
  type EntryTime,
  extent,
  FLAG_STREAMED,
  localHeader,
} from './zip-records.js';

/**
 * A manifest has more bytes for each entry than the central directory, and at least these. Longer directories, and
 * directories of more entries, are hostile.
 */
const MAX_DIRECTORY_BYTES = MAX_MANIFEST_BYTES;
const MIN_BYTES_IN_MANIFEST = 147;
const MAX_ENTRIES = Math.floor(MAX_MANIFEST_BYTES / MIN_BYTES_IN_MANIFEST);
/** The central directory is read in pieces of this size instead of record by record. */
const WINDOW_BYTES = 512 * 1024;
const INFLATE_CHUNK_BYTES = 256 * 1024;
/** Entries up to this length are read as a whole: all of the writer's except those of very wide rows. */
export const WHOLE_ENTRY_BYTES = 2 * ENTRY_MEMORY_BYTES;

/** An archive whose bytes outside the entries' data all match its manifest. */
export class OpenArchive {
  constructor(
    private readonly source: RangeSource,
    readonly manifest: Manifest,
    private readonly records: Map<string, EntryRecord>,
    private readonly time: EntryTime,
  ) {}

  /** Sorts items by the order of their entries in the archive. @param entryOf the first entry of an item */
  sorted<Item>(items: Item[], entryOf: (item: Item) => ManifestFile | undefined): Item[] {
    const offset = (item: Item) => this.records.get(entryOf(item)?.name ?? '')?.offset ?? 0;
    return items.toSorted((one, other) => offset(one) - offset(other));
  }

  /** Reads entries in the given order. Adjacent entries share one read. */
  read(entries: ManifestFile[]): EntrySequence {
    return new EntrySequence(this.source, this.records, this.time, entries);
  }
}

/** Reading and discarding gaps up to this length is faster than a new request. */
const MAX_GAP_BYTES = 128 * 1024;

/** Reads entries of an archive, one after the other. Close it at the end. */
export class EntrySequence {
  private readonly reader: SequentialReader;
  /** The end of a read that starts with each entry. */
  private readonly ends: number[];
  private started = 0;
  /** Settles when all started entries have been read. */
  private lastRead = Promise.resolve();

  constructor(
    source: RangeSource,
    private readonly records: Map<string, EntryRecord>,
    private readonly time: EntryTime,
    private readonly entries: ManifestFile[],
  ) {
    this.reader = new SequentialReader(source, MAX_GAP_BYTES);
    this.ends = readEnds(entries.map(({ name }) => records.get(name)));
  }

  /**
   * The bytes of the next entry; undefined if there is none. Several entries can be open at once: each is read after the
   * one before it was read or closed, and decompressed in parallel. Fails with ARCHIVE_INVALID if the entry does not match
   * the manifest. An entry that fits into memory yields nothing before its check; discard the bytes of a longer entry that
   * fails.
   */
  next(): AsyncGenerator<Buffer> | undefined {
    const index = this.started;
    const entry = this.entries[index];
    if (entry === undefined) return undefined;
    this.started++;
    const before = this.lastRead;
    let done: () => void = () => undefined;
    this.lastRead = new Promise((resolve) => (done = resolve));
    return this.inTurn(before, entry, this.ends[index] ?? 0, done);
  }

  async close(): Promise<void> {
    await this.reader.close();
  }

  /** @param done called when the entry has been read */
  private async *inTurn(
    before: Promise<void>,
    entry: ManifestFile,
    end: number,
    done: () => void,
  ): AsyncGenerator<Buffer> {
    try {
      await before;
      const record = this.records.get(entry.name);
      if (record === undefined) throw invalid(`the entry ${entry.name} is missing`);
      await this.reader.seek(record.offset, end);
      await this.expect(entry, localHeader(record, this.time));
      if (Math.max(entry.length, record.compressedLength) > WHOLE_ENTRY_BYTES) {
        yield* this.longEntry(entry, record);
        return;
      }
      const compressed = await this.reader.take(record.compressedLength);
      await this.expect(entry, dataDescriptor(record));
      done();
      const content = await decompressed(record, compressed, entry.length);
      expectChecksums(entry, checksumsOf(content));
      if (content.length > 0) yield content;
    } finally {
      done();
    }
  }

  private async *longEntry(entry: ManifestFile, record: EntryRecord): AsyncGenerator<Buffer> {
    const checksums = new Checksums();
    for await (const chunk of inflated(record, this.reader)) {
      checksums.update(chunk);
      if (checksums.length > entry.length) throw damaged(entry);
      yield chunk;
    }
    expectChecksums(entry, checksums.result());
    await this.expect(entry, dataDescriptor(record));
  }

  /** Reads on. @throws Failure ARCHIVE_INVALID if the archive has other bytes there */
  private async expect(entry: ManifestFile, bytes: Buffer): Promise<void> {
    if (!bytes.equals(await this.reader.take(bytes.length))) throw damaged(entry);
  }
}

/** For entries that are read in this order, gives the end of a read that starts with each of them. */
function readEnds(records: (EntryRecord | undefined)[]): number[] {
  const ends: number[] = [];
  let next: { offset: number; end: number } | undefined;
  for (const record of records.toReversed()) {
    const offset = record?.offset ?? 0;
    const own = offset + (record === undefined ? 0 : extent(record));
    const gap = next === undefined ? -1 : next.offset - own;
    const end: number = next !== undefined && gap >= 0 && gap <= MAX_GAP_BYTES ? next.end : own;
    next = { offset, end };
    ends.push(end);
  }
  return ends.toReversed();
}

function expectChecksums(entry: ManifestFile, read: ContentChecksums): void {
  if (read.length !== entry.length || read.crc32 !== entry.crc32 || read.sha256 !== entry.sha256)
    throw damaged(entry);
}

interface Inflated {
  buffer: Buffer;
  engine: { bytesWritten: number };
}

const inflateWhole = promisify(inflateRaw) as unknown as (
  compressed: Buffer,
  options: ZlibOptions & { info: true },
) => Promise<Inflated>;

/** Decompresses an entry on another thread. @param length from the manifest; the result is never longer */
async function decompressed(record: EntryRecord, compressed: Buffer, length: number): Promise<Buffer> {
  if (record.method === 0) return compressed;
  const size = Math.max(length, 64);
  try {
    const options = { chunkSize: size, maxOutputLength: size, info: true } as const;
    const { buffer: content, engine } = await inflateWhole(compressed, options);
    if (engine.bytesWritten !== compressed.length) throw longerThanItsData(record);
    return content;
  } catch (error) {
    if ((error as { code?: unknown }).code === 'ERR_BUFFER_TOO_LARGE') throw damaged(record);
    throw broken(record, error);
  }
}

async function* inflated(record: EntryRecord, reader: SequentialReader): AsyncGenerator<Buffer> {
  if (record.method === 0) {
    yield* reader.bytes(record.compressedLength);
    return;
  }
  const inflate = createInflateRaw({ chunkSize: INFLATE_CHUNK_BYTES });
  const compressed = Readable.from(reader.bytes(record.compressedLength), { objectMode: false });
  compressed.on('error', (error) => inflate.destroy(error)).pipe(inflate);
  try {
    yield* inflate as AsyncIterable<Buffer>;
    // The entry must not hold bytes behind its deflate stream.
    if (inflate.bytesWritten !== record.compressedLength) throw longerThanItsData(record);
  } catch (error) {
    throw error instanceof Failure || (error as Error).name === 'AbortError' ? error : broken(record, error);
  } finally {
    compressed.destroy();
    inflate.destroy();
  }
}

/** Attributes zlib's errors to the archive, and passes on those of the source. */
function broken(record: EntryRecord, error: unknown): unknown {
  const code = (error as { code?: unknown }).code;
  return typeof code === 'string' && code.startsWith('Z_')
    ? invalid(`the entry ${record.name} is damaged`, error)
    : error;
}

function longerThanItsData({ name }: EntryRecord): Failure {
  return invalid(`the entry ${name} is longer than its data`);
}

function damaged({ name }: { name: string }): Failure {
  return invalid(`the entry ${name} is damaged`);
}

/**
 * Opens an archive. Reads the central directory and the manifest, and checks that the archive holds exactly the entries
 * of the manifest, one after the other, with their lengths and checksums, and nothing else.
 * @throws Failure ARCHIVE_INVALID, or the source's error
 */
export async function openArchive(source: RangeSource): Promise<OpenArchive> {
  const windowed = new WindowedReader(source);
  try {
    const zip = await fromRandomAccessReaderPromise(windowed, source.length, {
      autoClose: false,
      strictFileNames: true,
    });
    if (zip.entryCount > MAX_ENTRIES) throw invalid(`it claims to hold ${zip.entryCount} entries`);
    // The offset of the central directory, although its type is wider.
    if (source.length - Number(zip.readEntryCursor) > MAX_DIRECTORY_BYTES)
      throw invalid('its central directory is too long');
    const listed: ListedEntry[] = [];
    let last: Entry | undefined;
    for await (const entry of zip.eachEntry()) listed.push(listedEntry((last = entry)));

    if (last === undefined || last.fileName !== MANIFEST_NAME)
      throw invalid(`its last entry is not ${MANIFEST_NAME}`);
    if (last.uncompressedSize > MAX_MANIFEST_BYTES) throw invalid(`its ${MANIFEST_NAME} is too long`);
    const text = await buffer(await zip.openReadStreamPromise(last));
    if (crc32(text) !== last.crc32) throw invalid(`its ${MANIFEST_NAME} is damaged`);
    expectModestJson(text);
    const manifest = parseManifest(text.toString('utf8'));

    expectConsistentNumbers(manifest);
    const records = expectedRecords(manifest, listed, last);
    const time = entryTime(new Date(manifest.takenAt));
    const directoryOffset = records.reduce((offset, record) => offset + extent(record), 0);
    await expectBytes(source, directoryOffset, centralDirectory(records, time, directoryOffset));
    const manifestRecord = records.at(-1);
    if (manifestRecord !== undefined)
      await expectBytes(source, manifestRecord.offset, localHeader(manifestRecord, time), true);
    const byName = new Map(records.map((record) => [record.name, record]));
    if (byName.size < records.length) throw invalid('two of its entries have the same name');
    return new OpenArchive(source, manifest, byName, time);
  } catch (error) {
    const failure = windowed.failure ?? error;
    throw failure instanceof Failure || (failure as Error).name === 'AbortError'
      ? failure
      : invalid((failure as Error).message.replace(/\.$/, ''), failure);
  }
}

/** The numbers that people are shown must be the sums of what is checked. */
function expectConsistentNumbers({ tables, configuration, largeObjects, totals }: Manifest): void {
  const sum = (numbers: number[]) => numbers.reduce((total, number) => total + number, 0);
  const entries = tables.flatMap((table) => table.entries);
  const consistent =
    [...tables, ...(configuration?.tables ?? [])].every(
      (table) => table.rows === sum(table.entries.map(({ rows }) => rows)),
    ) &&
    totals.tables === tables.length &&
    totals.entities === sum(tables.map(({ rows }) => rows)) &&
    totals.bytes === sum(entries.map(({ length }) => length)) &&
    isDeepStrictEqual(totals.largeObjects, largeObjects && totalsOf(largeObjects)) &&
    (largeObjects === undefined || largeObjects.metadata !== undefined || largeObjects.entries.length === 0);
  if (!consistent) throw invalid('the numbers in its manifest contradict each other');
}

/** The fields of yauzl's entries that are used. An entry of yauzl takes ten times this memory. */
type ListedEntry = Pick<Entry, 'fileName' | 'compressionMethod' | 'compressedSize'> & { streamed: boolean };

function listedEntry({
  fileName,
  compressionMethod,
  compressedSize,
  generalPurposeBitFlag,
}: Entry): ListedEntry {
  return {
    fileName,
    compressionMethod,
    compressedSize,
    streamed: (generalPurposeBitFlag & FLAG_STREAMED) !== 0,
  };
}

/** The entries by the manifest. Only order, compressed lengths and methods come from the zip's own list. */
function expectedRecords(manifest: Manifest, listed: ListedEntry[], last: Entry): EntryRecord[] {
  const files = filesOf(manifest);
  const wanted = new Map(files.map((file) => [file.name, file]));
  if (wanted.size < files.length) throw invalid('two of its entries have the same name');
  const records: EntryRecord[] = [];
  let offset = 0;
  const add = (name: string, length: number, crc: number, entry: ListedEntry) => {
    const { compressionMethod: method, compressedSize: compressedLength, streamed } = entry;
    const record = { name, method, crc32: crc, compressedLength, length, offset, streamed };
    records.push(record);
    offset += extent(record);
  };
  for (const [index, entry] of listed.slice(0, -1).entries()) {
    const name = manifest.formatVersion === 1 ? (files[index]?.name ?? '') : entry.fileName;
    const file = wanted.get(name);
    if (file === undefined) throw invalid('it holds entries that its manifest does not know');
    if (entry.fileName !== name) throw invalid(`the entry ${name} is missing`);
    wanted.delete(name);
    add(name, file.length, parseInt(file.crc32, 16), entry);
  }
  for (const name of wanted.keys()) throw invalid(`the entry ${name} is missing`);
  add(MANIFEST_NAME, last.uncompressedSize, last.crc32, listedEntry(last));
  return records;
}

/** @param more whether other bytes may follow; otherwise the source must end there */
async function expectBytes(
  source: RangeSource,
  offset: number,
  expected: Buffer,
  more = false,
): Promise<void> {
  const end = offset + expected.length;
  const fits = more ? end <= source.length : end === source.length;
  if (!fits || !expected.equals(await buffer(source.read(offset, end))))
    throw invalid('its records do not match its manifest');
}

/** Reads for yauzl. Serves its small reads from a moving window, so that few requests are needed. */
class WindowedReader extends RandomAccessReader {
  /** The source's error, which yauzl does not always pass on. */
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
    return this.source.read(start, end);
  }

  private async readInto(target: Buffer, offset: number, length: number, position: number): Promise<void> {
    const end = position + length;
    if (position < 0 || end > this.source.length) throw invalid('it points outside itself');
    if (position < this.window.start || end > this.window.start + this.window.bytes.length) {
      // yauzl reads the end of the file first, then the central directory from its start.
      const atEnd = end === this.source.length;
      const from = atEnd ? Math.max(0, end - Math.max(length, WINDOW_BYTES)) : position;
      const to = Math.min(this.source.length, Math.max(end, from + WINDOW_BYTES));
      this.window = { start: from, bytes: await buffer(this.source.read(from, to)) };
    }
    this.window.bytes.copy(target, offset, position - this.window.start, end - this.window.start);
  }
}
