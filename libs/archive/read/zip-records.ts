/**
 * The bytes around the entries' data, as the writer makes them. The reader makes them again from the manifest and
 * compares. So it finds any changed byte, and refuses a zip that holds anything that the manifest does not describe.
 * https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT, sections 4.3 and 4.5
 */

/** An entry as its records describe it. */
export interface EntryRecord {
  name: string;
  /** 8 for deflate, 0 for stored. */
  method: number;
  crc32: number;
  compressedLength: number;
  length: number;
  /** The offset of its local header in the archive. */
  offset: number;
  /** Whether lengths and checksum follow its data, because they were unknown when its header was written. */
  streamed: boolean;
}

/** The modification time of all entries. */
export interface EntryTime {
  dosTime: number;
  dosDate: number;
  /** Seconds since 1970. */
  unix: number;
}

/** Converts a time. DOS time has no zone, so this is UTC, and counts in steps of two seconds from 1980 on. */
export function entryTime(date: Date): EntryTime {
  const [year, month, day] = [date.getUTCFullYear(), date.getUTCMonth() + 1, date.getUTCDate()];
  const [hours, minutes, seconds] = [date.getUTCHours(), date.getUTCMinutes(), date.getUTCSeconds()];
  return {
    dosDate: ((year - 1980) << 9) | (month << 5) | day,
    dosTime: (hours << 11) | (minutes << 5) | (seconds >> 1),
    unix: Math.floor(date.getTime() / 1000),
  };
}

const UINT32_MAX = 0xffffffff;
const UINT16_MAX = 0xffff;
const MADE_BY_UNIX_6_3 = (3 << 8) | 63;
const VERSION_PLAIN = 20;
const VERSION_ZIP64 = 45;
const FLAG_UTF8 = 1 << 11;
/** Lengths and CRC-32 follow the data. */
export const FLAG_STREAMED = 1 << 3;
/** A regular file, rw-rw-r--. */
const EXTERNAL_ATTRIBUTES = (0o100664 << 16) >>> 0;

export function localHeader(entry: EntryRecord, time: EntryTime): Buffer {
  const name = Buffer.from(entry.name);
  const known = !entry.streamed;
  return Buffer.concat([
    fields(
      [4, 0x04034b50],
      [2, VERSION_PLAIN],
      [2, flags(entry)],
      [2, entry.method],
      [2, time.dosTime],
      [2, time.dosDate],
      [4, known ? entry.crc32 : 0],
      [4, known ? entry.compressedLength : 0],
      [4, known ? entry.length : 0],
      [2, name.length],
      [2, 0],
    ),
    name,
  ]);
}

export function dataDescriptor(entry: EntryRecord): Buffer {
  if (!entry.streamed) return Buffer.alloc(0);
  const width = needsZip64(entry) ? 8 : 4;
  return fields([4, 0x08074b50], [4, entry.crc32], [width, entry.compressedLength], [width, entry.length]);
}

/** The bytes of an entry: local header, data and data descriptor. */
export function extent(entry: EntryRecord): number {
  const descriptor = entry.streamed ? (needsZip64(entry) ? 24 : 16) : 0;
  return 30 + Buffer.byteLength(entry.name) + entry.compressedLength + descriptor;
}

/** Everything from the first record of the central directory to the archive's last byte. */
export function centralDirectory(entries: EntryRecord[], time: EntryTime, offset: number): Buffer {
  const records = Buffer.concat(entries.map((entry) => centralRecord(entry, time)));
  const { length: count } = entries;
  const zip64 = count >= UINT16_MAX || records.length >= UINT32_MAX || offset >= UINT32_MAX;
  return Buffer.concat([
    records,
    ...(zip64
      ? [
          fields(
            [4, 0x06064b50],
            [8, 44],
            [2, MADE_BY_UNIX_6_3],
            [2, VERSION_ZIP64],
            [4, 0],
            [4, 0],
            [8, count],
            [8, count],
            [8, records.length],
            [8, offset],
          ),
          fields([4, 0x07064b50], [4, 0], [8, offset + records.length], [4, 1]),
        ]
      : []),
    fields(
      [4, 0x06054b50],
      [2, 0],
      [2, 0],
      [2, Math.min(count, UINT16_MAX)],
      [2, Math.min(count, UINT16_MAX)],
      [4, Math.min(records.length, UINT32_MAX)],
      [4, Math.min(offset, UINT32_MAX)],
      [2, 0],
    ),
  ]);
}

/** The number of bytes at an archive's end that `lastRecord` needs. */
export const LAST_RECORD_BYTES = 512;

/**
 * Reads the record of the last entry that an archive lists.
 * @param tail the archive's last `LAST_RECORD_BYTES` bytes, or all if it is shorter
 * @param name the name that the entry must have
 * @returns undefined if the archive does not end with such an entry
 */
export function lastRecord(tail: Buffer, name: string): EntryRecord | undefined {
  const [end, zip64End] = [tail.length - 22, tail.length - 22 - 20 - 56];
  if (end < 0 || tail.readUInt32LE(end) !== 0x06054b50) return undefined;
  const recordsEnd = zip64End >= 0 && tail.readUInt32LE(zip64End) === 0x06064b50 ? zip64End : end;
  const wanted = Buffer.from(name);
  for (const extraLength of [9, 37]) {
    const at = recordsEnd - extraLength - wanted.length - 46;
    const extra = recordsEnd - extraLength;
    if (at < 0 || tail.readUInt32LE(at) !== 0x02014b50) continue;
    if (tail.readUInt16LE(at + 28) !== wanted.length || tail.readUInt16LE(at + 30) !== extraLength) continue;
    if (!tail.subarray(at + 46, extra).equals(wanted)) continue;
    const zip64 = extraLength === 37;
    const wide = (field: number) => Number(tail.readBigUInt64LE(extra + 13 + 8 * field));
    return {
      name,
      streamed: (tail.readUInt16LE(at + 8) & FLAG_STREAMED) !== 0,
      method: tail.readUInt16LE(at + 10),
      crc32: tail.readUInt32LE(at + 16),
      compressedLength: zip64 ? wide(1) : tail.readUInt32LE(at + 20),
      length: zip64 ? wide(0) : tail.readUInt32LE(at + 24),
      offset: zip64 ? wide(2) : tail.readUInt32LE(at + 42),
    };
  }
  return undefined;
}

function centralRecord(entry: EntryRecord, time: EntryTime): Buffer {
  const name = Buffer.from(entry.name);
  const zip64 = needsZip64(entry);
  const extra = Buffer.concat([
    fields([2, 0x5455], [2, 5], [1, 3], [4, time.unix]),
    ...(zip64
      ? [fields([2, 1], [2, 24], [8, entry.length], [8, entry.compressedLength], [8, entry.offset])]
      : []),
  ]);
  return Buffer.concat([
    fields(
      [4, 0x02014b50],
      [2, MADE_BY_UNIX_6_3],
      [2, zip64 ? VERSION_ZIP64 : VERSION_PLAIN],
      [2, flags(entry)],
      [2, entry.method],
      [2, time.dosTime],
      [2, time.dosDate],
      [4, entry.crc32],
      [4, zip64 ? UINT32_MAX : entry.compressedLength],
      [4, zip64 ? UINT32_MAX : entry.length],
      [2, name.length],
      [2, extra.length],
      [2, 0],
      [2, 0],
      [2, 0],
      [4, EXTERNAL_ATTRIBUTES],
      [4, zip64 ? UINT32_MAX : entry.offset],
    ),
    name,
    extra,
  ]);
}

function flags(entry: EntryRecord): number {
  return FLAG_UTF8 | (entry.streamed ? FLAG_STREAMED : 0);
}

function needsZip64({ length, compressedLength, offset }: EntryRecord): boolean {
  return Math.max(length, compressedLength, offset) > UINT32_MAX - 1;
}

/** Little-endian integers of the given widths in bytes, one after the other. */
function fields(...values: [width: 1 | 2 | 4 | 8, value: number][]): Buffer {
  const bytes = Buffer.alloc(values.reduce((sum, [width]) => sum + width, 0));
  let at = 0;
  for (const [width, value] of values) {
    if (width === 8) bytes.writeBigUInt64LE(BigInt(value), at);
    else bytes.writeUIntLE(value, at, width);
    at += width;
  }
  return bytes;
}
