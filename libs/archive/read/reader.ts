import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { promisify } from 'node:util';
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
 * A manifest says more of every entry than the central directory does, and at least so much: a directory that says
 * more, or of more entries, is no honest one.
 */
const MAX_DIRECTORY_BYTES = MAX_MANIFEST_BYTES;
const LEAST_IN_MANIFEST_BYTES = 147;
const MAX_ENTRIES = Math.floor(MAX_MANIFEST_BYTES / LEAST_IN_MANIFEST_BYTES);
/** The central directory is read in pieces of this size instead of record by record. */
const WINDOW_BYTES = 512 * 1024;
const INFLATE_CHUNK_BYTES = 256 * 1024;
/** Entries up to this length are read whole; the writer's are, but for those of very wide rows. */
export const WHOLE_ENTRY_BYTES = 2 * ENTRY_MEMORY_BYTES;

/** An archive whose every byte outside the entries' data has been held against its manifest. */
export class OpenArchive {
  constructor(
    private readonly source: RangeSource,
    readonly manifest: Manifest,
    private readonly records: Map<string, EntryRecord>,
    private readonly time: EntryTime,
  ) {}

  /** Sorts what has entries as these lie in the archive. @param entryOf the first entry of each */
  inPlace<Item>(items: Item[], entryOf: (item: Item) => ManifestFile | undefined): Item[] {
    const offset = (item: Item) => this.records.get(entryOf(item)?.name ?? '')?.offset ?? 0;
    return items.toSorted((one, other) => offset(one) - offset(other));
  }

  /** Reads entries in the order that is given. Those that lie side by side are one read. */
  read(entries: ManifestFile[]): EntrySequence {
    return new EntrySequence(this.source, this.records, this.time, entries);
  }
}

/** A few bytes that nobody asked for are read sooner than a new request is answered. */
const PASSED_OVER_BYTES = 128 * 1024;

/** Reads entries of an archive, one after the other. Close it when no more are wanted. */
export class EntrySequence {
  private readonly reader: SequentialReader;
  /** Up to where to read from each entry on. */
  private readonly ends: number[];
  private begun = 0;
  /** Settles when nothing reads any more. */
  private lastRead = Promise.resolve();

  constructor(
    source: RangeSource,
    private readonly records: Map<string, EntryRecord>,
    private readonly time: EntryTime,
    private readonly entries: ManifestFile[],
  ) {
    this.reader = new SequentialReader(source, PASSED_OVER_BYTES);
    this.ends = readEnds(entries.map(({ name }) => records.get(name)));
  }

  /**
   * The bytes of the next entry; undefined when there is none. Several may be asked for at once: each is read once the
   * one before has been, or was given up, and unpacked beside it. Fails with ARCHIVE_INVALID when anything about the
   * entry is not as the manifest says. An entry that fits into memory gives nothing before it was checked; of a longer
   * one, what came before must be thrown away.
   */
  next(): AsyncGenerator<Buffer> | undefined {
    const index = this.begun;
    const entry = this.entries[index];
    if (entry === undefined) return undefined;
    this.begun++;
    const before = this.lastRead;
    let done: () => void = () => undefined;
    this.lastRead = new Promise((resolve) => (done = resolve));
    return this.inTurn(before, entry, this.ends[index] ?? 0, done);
  }

  async close(): Promise<void> {
    await this.reader.close();
  }

  /** @param done told when nothing more is read for this entry */
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
      const packed = await this.reader.take(record.compressedLength);
      await this.expect(entry, dataDescriptor(record));
      done();
      const content = await unpacked(record, packed, entry.length);
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

  /** Reads on. @throws Failure ARCHIVE_INVALID when the archive has other bytes there */
  private async expect(entry: ManifestFile, bytes: Buffer): Promise<void> {
    if (!bytes.equals(await this.reader.take(bytes.length))) throw damaged(entry);
  }
}

/** For each of several entries that are read in this order: where a read that begins with it ends. */
function readEnds(records: (EntryRecord | undefined)[]): number[] {
  const ends: number[] = [];
  let next: { offset: number; end: number } | undefined;
  for (const record of records.toReversed()) {
    const offset = record?.offset ?? 0;
    const own = offset + (record === undefined ? 0 : extent(record));
    const gap = next === undefined ? -1 : next.offset - own;
    const end: number = next !== undefined && gap >= 0 && gap <= PASSED_OVER_BYTES ? next.end : own;
    next = { offset, end };
    ends.push(end);
  }
  return ends.toReversed();
}

function expectChecksums(entry: ManifestFile, { length, crc32, sha256 }: ContentChecksums): void {
  if (length !== entry.length || crc32 !== entry.crc32 || sha256 !== entry.sha256) throw damaged(entry);
}

interface Inflated {
  buffer: Buffer;
  engine: { bytesWritten: number };
}

const inflateWhole = promisify(inflateRaw) as unknown as (
  packed: Buffer,
  options: ZlibOptions & { info: true },
) => Promise<Inflated>;

/** Unpacks an entry on another thread. @param length what the manifest says; nothing longer is made */
async function unpacked(record: EntryRecord, packed: Buffer, length: number): Promise<Buffer> {
  if (record.method === 0) return packed;
  const room = Math.max(length, 64);
  try {
    const options = { chunkSize: room, maxOutputLength: room, info: true } as const;
    const { buffer: content, engine } = await inflateWhole(packed, options);
    if (engine.bytesWritten !== packed.length) throw longerThanItsData(record);
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
    // What the deflate stream did not need is not ours.
    if (inflate.bytesWritten !== record.compressedLength) throw longerThanItsData(record);
  } catch (error) {
    throw error instanceof Failure || (error as Error).name === 'AbortError' ? error : broken(record, error);
  } finally {
    compressed.destroy();
    inflate.destroy();
  }
}

/** zlib's errors are the archive's fault; others came through from the source. */
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
 * Opens an archive where it lies. Reads the central directory and the manifest, and checks that the archive
 * holds exactly the entries of the manifest, one after the other, with their lengths and checksums, and
 * nothing else.
 * @throws Failure ARCHIVE_INVALID, or what the source fails with
 */
export async function openArchive(source: RangeSource): Promise<OpenArchive> {
  const windowed = new WindowedReader(source);
  try {
    const zip = await fromRandomAccessReaderPromise(windowed, source.length, {
      autoClose: false,
      strictFileNames: true,
    });
    if (zip.entryCount > MAX_ENTRIES) throw invalid(`it claims to hold ${zip.entryCount} entries`);
    // An offset, whatever its type says: where the directory begins.
    if (source.length - Number(zip.readEntryCursor) > MAX_DIRECTORY_BYTES)
      throw invalid('its central directory is too long');
    const listed: ListedEntry[] = [];
    let last: Entry | undefined;
    for await (const entry of zip.eachEntry()) listed.push(listedEntry((last = entry)));

    if (last === undefined || last.fileName !== MANIFEST_NAME)
      throw invalid(`its last entry is no ${MANIFEST_NAME}`);
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
      : invalid((failure as Error).message, failure);
  }
}

/** The numbers that people are shown must be the sums of what is checked. */
function expectConsistentNumbers({ tables, totals }: Manifest): void {
  const sum = (numbers: number[]) => numbers.reduce((total, number) => total + number, 0);
  const entries = tables.flatMap((table) => table.entries);
  const consistent =
    tables.every((table) => table.rows === sum(table.entries.map(({ rows }) => rows))) &&
    totals.tables === tables.length &&
    totals.entities === sum(tables.map(({ rows }) => rows)) &&
    totals.bytes === sum(entries.map(({ length }) => length));
  if (!consistent) throw invalid('the numbers in its manifest contradict each other');
}

/** What is used of the zip's own list. yauzl's entries hold ten times as much memory, and there may be many. */
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

/** The entries as the manifest wants them; of the zip's own list only the order, the packed lengths and the methods are used. */
function expectedRecords(manifest: Manifest, listed: ListedEntry[], last: Entry): EntryRecord[] {
  const files = filesOf(manifest);
  const wanted = new Map(files.map((file) => [file.name, file]));
  if (wanted.size < files.length) throw invalid('two of its entries have the same name');
  const records: EntryRecord[] = [];
  let offset = 0;
  const place = (name: string, length: number, crc: number, entry: ListedEntry) => {
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
    place(name, file.length, parseInt(file.crc32, 16), entry);
  }
  for (const name of wanted.keys()) throw invalid(`the entry ${name} is missing`);
  place(MANIFEST_NAME, last.uncompressedSize, last.crc32, listedEntry(last));
  return records;
}

/** @param more whether other bytes may follow; otherwise the source must end here */
async function expectBytes(
  source: RangeSource,
  offset: number,
  expected: Buffer,
  more = false,
): Promise<void> {
  const end = offset + expected.length;
  const fits = more ? end <= source.length : end === source.length;
  if (!fits || !expected.equals(await buffer(source.read(offset, end))))
    throw invalid('its records are not those that its manifest describes');
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
    return this.source.read(start, end);
  }

  private async readInto(target: Buffer, offset: number, length: number, position: number): Promise<void> {
    const end = position + length;
    if (position < 0 || end > this.source.length) throw invalid('it points outside itself');
    if (position < this.window.start || end > this.window.start + this.window.bytes.length) {
      // yauzl starts at the end of the file and then goes through the central directory from its start.
      const atEnd = end === this.source.length;
      const from = atEnd ? Math.max(0, end - Math.max(length, WINDOW_BYTES)) : position;
      const to = Math.min(this.source.length, Math.max(end, from + WINDOW_BYTES));
      this.window = { start: from, bytes: await buffer(this.source.read(from, to)) };
    }
    this.window.bytes.copy(target, offset, position - this.window.start, end - this.window.start);
  }
}
