import { z } from 'zod';
import {
  csvRows,
  invalid,
  LARGE_OBJECTS_NAME,
  type ManifestEntry,
  type ManifestLargeObjects,
  type OpenArchive,
} from '#archive';
import { type LargeObject, type LargeObjectBatch, type LargeObjectRight, type Pieces } from '#postgres';

/** The objects that one statement is about. */
const BATCH = 5_000;
const LAST_OID = 2 ** 32 - 1;
/** PostgreSQL's limit. */
const MAX_OBJECT_BYTES = (2 ** 31 - 1) * 2048;

/**
 * Reads the archived large objects in batches, which cover all OIDs.
 * @throws Failure ARCHIVE_INVALID
 */
export async function* largeObjectBatches(
  archive: OpenArchive,
  largeObjects: ManifestLargeObjects,
): AsyncGenerator<LargeObjectBatch> {
  let from = 0;
  let objects: LargeObject[] = [];
  for await (const object of listedObjects(archive, largeObjects)) {
    if (objects.length === BATCH) {
      const to = object.oid - 1;
      yield { objects, from, to };
      from = object.oid;
      objects = [];
    }
    objects.push(object);
  }
  yield { objects, from, to: LAST_OID };
}

/** Reads the list of the archived large objects. @throws Failure ARCHIVE_INVALID */
async function* listedObjects(
  archive: OpenArchive,
  { metadata, entries, bytes }: ManifestLargeObjects,
): AsyncGenerator<LargeObject> {
  if (metadata === undefined) return;
  // Two digits stand for a byte. A restore makes room for the objects before it reads their contents.
  if (entries.reduce((length, entry) => length + entry.length, 0) < 2 * bytes)
    throw invalid('its manifest says that its large objects have more bytes than their entries');
  const sequence = archive.read([metadata]);
  try {
    let last = 0;
    let count = 0;
    let total = 0;
    for await (const row of csvRows(sequence.next() ?? nothing())) {
      const object = parsed(row);
      if (object.oid <= last) throw invalid(`${LARGE_OBJECTS_NAME} is not sorted`);
      last = object.oid;
      count++;
      total += object.bytes;
      if (total > bytes) throw invalid(`${LARGE_OBJECTS_NAME} lists more bytes than its manifest`);
      yield object;
    }
    if (count !== metadata.rows)
      throw invalid(`${LARGE_OBJECTS_NAME} has ${count} rows, but its manifest says ${metadata.rows}`);
  } finally {
    await sequence.close();
  }
}

async function* nothing(): AsyncGenerator<Buffer> {}

function parsed([oidText, bytesText, owner, rights, comment]: (string | null)[]): LargeObject {
  const [oid, bytes] = [Number(oidText), Number(bytesText)];
  if (!(
    Number.isInteger(oid) &&
    oid > 0 &&
    oid <= LAST_OID &&
    Number.isInteger(bytes) &&
    bytes >= 0 &&
    bytes <= MAX_OBJECT_BYTES
  ))
    throw invalid(`${LARGE_OBJECTS_NAME} holds a row that is no large object`);
  return {
    oid,
    bytes,
    owner: owner ?? '',
    rights: rights === null || rights === undefined ? null : rightsIn(rights),
    // U+FFFD stands for bytes that are not UTF-8.
    ...(comment?.includes('\ufffd') !== true && { comment: comment ?? null }),
  };
}

const RIGHT = z.object({
  grantor: z.string(),
  grantee: z.string().nullable(),
  privilege: z.enum(['SELECT', 'UPDATE']),
  grantable: z.boolean(),
});

function rightsIn(text: string): LargeObjectRight[] {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    json = undefined;
  }
  const { data } = z.array(RIGHT).safeParse(json);
  if (data === undefined) throw invalid(`${LARGE_OBJECTS_NAME} holds rights that cannot be read`);
  return data;
}

const NEWLINE = 0x0a;
/** The text of one statement. A longer line is sent by itself. */
const TEXT_BYTES = 2 * 1024 * 1024;
/** Longer than any line of the writer. */
const MAX_LINE_BYTES = 16 * 1024 * 1024;

/**
 * Reads the contents of the large objects, and checks that they are those of the listed objects: each byte once, in order.
 * @param onBytes called with the number of bytes of large objects that have been read
 * @throws Failure ARCHIVE_INVALID
 */
export async function* largeObjectPieces(
  archive: OpenArchive,
  largeObjects: ManifestLargeObjects,
  onBytes: (bytes: number) => void = () => {},
): AsyncGenerator<Pieces> {
  const expected = new ExpectedContents(listedObjects(archive, largeObjects));
  const sequence = archive.read(largeObjects.entries);
  try {
    for (const entry of largeObjects.entries) {
      let rows = 0;
      for await (const text of textsOf(sequence.next() ?? nothing(), entry)) {
        const pieces = piecesIn(text, entry);
        rows += pieces.oids.length;
        for (const [index, oid] of pieces.oids.entries())
          await expected.take(oid, pieces.offsets[index] ?? 0, pieces.lengths[index] ?? 0);
        onBytes(expected.bytes);
        yield pieces;
      }
      if (rows !== entry.rows)
        throw invalid(`the entry ${entry.name} has ${rows} rows, but its manifest says ${entry.rows}`);
    }
    await expected.end();
    if (expected.bytes !== largeObjects.bytes)
      throw invalid(
        `its large objects have ${expected.bytes} bytes, but its manifest says ${largeObjects.bytes}`,
      );
  } finally {
    await expected.close();
    await sequence.close();
  }
}

/** The lines of an entry below its header line, in texts without the last line break. */
async function* textsOf(csv: AsyncIterable<Buffer>, { name }: ManifestEntry): AsyncGenerator<Buffer> {
  let rest = Buffer.alloc(0);
  let inHeader = true;
  for await (const received of csv) {
    const bytes = rest.length === 0 ? received : Buffer.concat([rest, received]);
    let start = 0;
    while (start < bytes.length) {
      const end = inHeader ? bytes.indexOf(NEWLINE, start) : lastBreak(bytes, start);
      if (end < 0) break;
      if (!inHeader && end > start) yield bytes.subarray(start, end);
      inHeader = false;
      start = end + 1;
    }
    rest = Buffer.from(bytes.subarray(start));
    if (rest.length > MAX_LINE_BYTES) throw invalid(`the entry ${name} holds too long a line`);
  }
  if (rest.length > 0) throw invalid(`the entry ${name} ends within a line`);
}

/** The position of the last line break within TEXT_BYTES, or of the first one; -1 if there is none. */
function lastBreak(bytes: Buffer, start: number): number {
  const end = bytes.lastIndexOf(NEWLINE, start + TEXT_BYTES);
  return end >= start ? end : bytes.indexOf(NEWLINE, start);
}

/** The beginning of a line, up to the bytes. */
const LINE = /^(\d{1,10}),(\d{1,15}),\\x/;
const LINE_START_BYTES = 32;

function piecesIn(text: Buffer, { name }: ManifestEntry): Pieces {
  const pieces: Pieces = { text, oids: [], offsets: [], lengths: [] };
  for (let start = 0; start <= text.length;) {
    const found = text.indexOf(NEWLINE, start);
    const end = found < 0 ? text.length : found;
    const [before, oid, offset] =
      LINE.exec(text.toString('latin1', start, Math.min(end, start + LINE_START_BYTES))) ?? [];
    const digits = before === undefined ? '' : text.toString('latin1', start + before.length, end);
    // Decoding ends at the first character that is no digit.
    const { length } = Buffer.from(digits, 'hex');
    if (length === 0 || 2 * length !== digits.length)
      throw invalid(`the entry ${name} holds a line that is no piece of a large object`);
    pieces.oids.push(Number(oid));
    pieces.offsets.push(Number(offset));
    pieces.lengths.push(length);
    start = end + 1;
  }
  return pieces;
}

/** Compares pieces with the list of the objects, both in the order of the OIDs. */
class ExpectedContents {
  /** Of all pieces so far. */
  bytes = 0;
  private current: LargeObject | undefined;
  /** Of the current object. */
  private taken = 0;

  constructor(private readonly objects: AsyncGenerator<LargeObject>) {}

  async take(oid: number, offset: number, length: number): Promise<void> {
    while (this.current === undefined || this.current.oid < oid) await this.next(oid);
    if (this.current.oid !== oid || offset !== this.taken) throw wrongContent(oid);
    this.taken += length;
    this.bytes += length;
  }

  /** Expects no further piece. */
  async end(): Promise<void> {
    do {
      await this.next(undefined);
    } while (this.current !== undefined);
  }

  close(): Promise<unknown> {
    return this.objects.return(undefined);
  }

  /** @param wanted the object that pieces belong to */
  private async next(wanted: number | undefined): Promise<void> {
    if (this.current !== undefined && this.taken !== this.current.bytes) throw wrongContent(this.current.oid);
    const next = (await this.objects.next()) as IteratorResult<LargeObject, undefined>;
    if (next.done === true && wanted !== undefined) throw wrongContent(wanted);
    this.current = next.value;
    this.taken = 0;
  }
}

function wrongContent(oid: number): ReturnType<typeof invalid> {
  return invalid(`the content of the large object ${oid} does not match its list`);
}
