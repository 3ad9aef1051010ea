import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { constants, crc32, deflateRawSync } from 'node:zlib';
import { manifestFacts } from '../support/manifest-facts.js';
import { tried } from '../support/tried.js';
import { createManifest, type ManifestEntry } from '../../libs/archive/index.js';
import {
  centralDirectory,
  type EntryRecord,
  entryTime,
  extent,
  localHeader,
} from '../../libs/archive/read/zip-records.js';

const OPEN = join(__dirname, '../support/open-archive.cjs');
/** On top of what the process takes for an archive of nothing. */
const MAY_TAKE_BYTES = 600 * 1024 * 1024;
/** Far more than any of these takes, and far less than what they would take if they were unpacked. */
const WITHIN_MS = 40_000;

const time = entryTime(new Date(manifestFacts().takenAt));

let folder: string;
let nothing: number;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'hostile-'));
  ({ peak: nothing } = await opened(zip([manifestFile([])])));
});
afterAll(() => rmSync(folder, { recursive: true }));

interface Opened {
  code: string;
  message: string;
  peak: number;
}

/** Opens these bytes in a separate process. */
async function opened(bytes: Buffer): Promise<Opened> {
  const file = join(folder, 'a.zip');
  writeFileSync(file, bytes);
  const { stdout } = await promisify(execFile)(process.execPath, [OPEN, file], { timeout: WITHIN_MS });
  return JSON.parse(stdout) as Opened;
}

interface File {
  name: string;
  /** The length in the records, independent of the data. */
  length: number;
  crc: number;
  data: Buffer;
  method: number;
}

function deflated(name: string, content: Buffer): File {
  return {
    name,
    length: content.length,
    crc: crc32(content),
    data: deflateRawSync(content, { level: 1 }),
    method: 8,
  };
}

/** A zip whose records are in order, if the files are. */
function zip(files: File[], change: (records: EntryRecord[]) => void = () => {}): Buffer {
  const parts: Buffer[] = [];
  const records: EntryRecord[] = [];
  let offset = 0;
  for (const { name, length, crc, data, method } of files) {
    const record = {
      name,
      method,
      crc32: crc,
      compressedLength: data.length,
      length,
      offset,
      streamed: false,
    };
    records.push(record);
    parts.push(localHeader(record, time), data);
    offset += extent(record);
  }
  change(records);
  return Buffer.concat([...parts, centralDirectory(records, time, offset)]);
}

function manifestFile(entries: ManifestEntry[]): File {
  const rows = entries.reduce((sum, entry) => sum + entry.rows, 0);
  const table = { schema: 's', name: 't', rows, columns: [], partitionOf: [], entries };
  const manifest = createManifest(manifestFacts({ tables: [table] }));
  return deflated('manifest.json', Buffer.from(JSON.stringify(manifest)));
}

/** How the manifest describes a file with this content. */
function described(name: string, content: Buffer, length = content.length): ManifestEntry {
  return {
    name,
    length,
    crc32: crc32(content).toString(16).padStart(8, '0'),
    sha256: createHash('sha256').update(content).digest('hex'),
    rows: 1,
  };
}

const NAME = 'data/s.t/000001.csv';
const SMALL = Buffer.from('a\nx\n');
const FOUR_GIGABYTES = 4 * 1024 ** 3 - 2;
const small = () => deflated(NAME, SMALL);
/** 1 GB of zeros in 1 MB: what follows a full flush does not depend on what came before. */
const BOMB = Buffer.concat([
  ...Array<Buffer>(16).fill(
    deflateRawSync(Buffer.alloc(64 * 1024 ** 2), { level: 1, finishFlush: constants.Z_FULL_FLUSH }),
  ),
  Buffer.from([3, 0]), // An empty last block.
]);
const repeated = (pattern: string, bytes: number) => Buffer.alloc(bytes, pattern);
const MANIFEST_BYTES = 60 * 1024 * 1024;

test.each<[string, () => Buffer, RegExp]>([
  [
    'a bomb of 1 GB that the manifest calls small',
    () => zip([{ ...small(), data: BOMB }, manifestFile([described(NAME, SMALL)])]),
    /the entry .* is damaged/,
  ],
  [
    'a bomb of 1 GB that everything calls 900 MB',
    () => {
      const LESS = 900_000_000;
      return zip([{ ...small(), data: BOMB, length: LESS }, manifestFile([described(NAME, SMALL, LESS)])]);
    },
    /the entry .* is damaged/,
  ],
  [
    'ten bytes that are declared as 4 GB',
    () =>
      zip([{ ...small(), length: FOUR_GIGABYTES }, manifestFile([described(NAME, SMALL, FOUR_GIGABYTES)])]),
    /the entry .* is damaged/,
  ],
  [
    'packed data that are declared as 4 GB',
    () =>
      zip([small(), manifestFile([described(NAME, SMALL)])], ([record]) => {
        if (record !== undefined) record.compressedLength = FOUR_GIGABYTES;
      }),
    /its records do not match|ends too early/,
  ],
  [
    'entries that overlap',
    () => {
      const names = [NAME, 'data/s.t/000002.csv'];
      const files = [
        ...names.map((name) => deflated(name, SMALL)),
        manifestFile(names.map((name) => described(name, SMALL))),
      ];
      return zip(files, ([, second]) => {
        if (second !== undefined) second.offset = 0;
      });
    },
    /its records do not match/,
  ],
  [
    'two entries of one name',
    () => zip([small(), small(), manifestFile([described(NAME, SMALL), described(NAME, SMALL)])]),
    /two of its entries have the same name/,
  ],
  [
    'a manifest of 100 MB',
    () => zip([deflated('manifest.json', repeated(' ', 100_000_000))]),
    /its manifest\.json is too long/,
  ],
  [
    'a manifest of 1 GB that is declared as short',
    () => zip([{ ...small(), name: 'manifest.json', data: BOMB }]),
    /./,
  ],
  ['a manifest of nothing but [', () => zip([deflated('manifest.json', repeated('[', MANIFEST_BYTES))]), /./],
  [
    'a manifest of nothing but objects',
    () => zip([deflated('manifest.json', Buffer.from(`[${'{},'.repeat(MANIFEST_BYTES / 3)}{}]`))]),
    /./,
  ],
  [
    'a manifest of millions of faults',
    () => {
      const faults = '0,       '.repeat(MANIFEST_BYTES / 9);
      const text = `{"format":"snapshotd-archive","formatVersion":1,"leftOut":[${faults}0]}`;
      return zip([deflated('manifest.json', Buffer.from(text))]);
    },
    /its manifest\.json is wrong at/,
  ],
  ...['../../etc/passwd', '/etc/passwd', 'data\\..\\x'].map((name): [string, () => Buffer, RegExp] => [
    `an entry called ${name}`,
    () => zip([deflated(name, SMALL), manifestFile([described(name, SMALL)])]),
    /invalid relative path|invalid characters|absolute path/,
  ]),
  [
    'a hundred thousand entries that no manifest knows',
    () => {
      const names = Array.from({ length: 100_000 }, (_, i) => `data/s.t/${i}`);
      const one = small();
      return zip([...names.map((name) => ({ ...one, name })), manifestFile([])]);
    },
    /it holds entries that its manifest does not know/,
  ],
  ['a million entries', () => directoryOf(1_000_000, 20), /it claims to hold 1000000 entries/],
  [
    '400,000 entries with short names',
    () => directoryOf(400_000, 20),
    /its last entry is not manifest\.json/,
  ],
  ['400,000 entries with long names', () => directoryOf(400_000, 250), /its central directory is too long/],
])('refuses %s, without much memory', async (title, make, reason) => {
  const began = performance.now();
  const { code, message, peak } = await opened(make());
  expect({ code, message }).toEqual({ code: 'ARCHIVE_INVALID', message: expect.stringMatching(reason) });
  expect(peak - nothing).toBeLessThan(MAY_TAKE_BYTES);
  const megabytes = Math.round((peak - nothing) / 1024 ** 2);
  tried(
    `opening ${title}`,
    1,
    `refused; ${megabytes} MiB, ${Math.round(performance.now() - began)} ms with making it`,
  );
});

/** A central directory alone, and that of one entry again and again: a name, but no data. */
function directoryOf(count: number, nameLength: number): Buffer {
  const record = { method: 0, crc32: 0, compressedLength: 0, length: 0, offset: 0, streamed: false };
  const one = centralDirectory([{ ...record, name: 'x'.repeat(nameLength) }], time, 0);
  const END_BYTES = 22;
  const length = (one.length - END_BYTES) * count;
  const end = Buffer.alloc(56 + 20 + END_BYTES);
  end.writeUInt32LE(0x06064b50, 0);
  end.writeBigUInt64LE(44n, 4);
  end.writeBigUInt64LE(BigInt(count), 24);
  end.writeBigUInt64LE(BigInt(count), 32);
  end.writeBigUInt64LE(BigInt(length), 40);
  end.writeUInt32LE(0x07064b50, 56);
  end.writeBigUInt64LE(BigInt(length), 64);
  end.writeUInt32LE(1, 72);
  end.writeUInt32LE(0x06054b50, 76);
  end.fill(0xff, 84, 96); // See the records above.
  return Buffer.concat([Buffer.alloc(length, one.subarray(0, -END_BYTES)), end]);
}
