import { execFileSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { crc32 } from 'node:zlib';
import { fromBufferPromise } from 'yauzl';
import { ZipFile } from 'yazl';
import { Failure } from '#common';
import { manifestFacts } from '../../test/support/manifest-facts.js';
import {
  ArchiveWriter,
  createManifest,
  dataEntryName,
  ENTRY_MEMORY_BYTES,
  findManifest,
  type Manifest,
  type ManifestFacts,
  type OpenArchive,
  openArchive,
  parseManifest,
  type RangeSource,
} from './index.js';
import { centralDirectory, entryTime, extent, LAST_RECORD_BYTES, lastRecord } from './read/zip-records.js';

const OPTIONS = {
  compressionLevel: 1,
  modifiedAt: new Date('2026-01-02T03:04:05.678Z'),
  waitingBytes: 2 * ENTRY_MEMORY_BYTES,
};

const FACTS = manifestFacts({
  sequences: [{ schema: 's', name: 'q', lastValue: '9223372036854775807', isCalled: true }],
});

async function archiveOf(
  contents: Record<string, string>,
  options = OPTIONS,
): Promise<{ bytes: Buffer; manifest: Manifest }> {
  const written: Buffer[] = [];
  const writer = new ArchiveWriter(async (bytes) => void written.push(Buffer.from(bytes)), options);
  const tables: ManifestFacts['tables'] = [];
  for (const [table, csv] of Object.entries(contents)) {
    const entry = writer.entry(dataEntryName({ schema: 's', name: table }, 1));
    await entry.write(Buffer.from(csv));
    tables.push({
      schema: 's',
      name: table,
      rows: 1,
      columns: [{ name: 'a', type: 'text', notNull: false, generated: false }],
      partitionOf: [],
      entries: [{ ...entry.end(), rows: 1 }],
    });
  }
  const manifest = await writer.finish({ ...FACTS, tables });
  return { bytes: Buffer.concat(written), manifest };
}

function source(bytes: Buffer, reads: [number, number][] = []): RangeSource {
  return {
    length: bytes.length,
    read: (start, end) => {
      reads.push([start, end]);
      return Readable.from([bytes.subarray(start, end)]);
    },
  };
}

/** Reads every entry to its end, in the order of the manifest. */
async function readEntries(archive: OpenArchive): Promise<void> {
  const sequence = archive.read(archive.manifest.tables.flatMap(({ entries }) => entries));
  for (let entry = sequence.next(); entry !== undefined; entry = sequence.next()) await buffer(entry);
  await sequence.close();
}

/** Opens the archive and reads every entry to its end. */
async function readWhole(bytes: Buffer): Promise<string> {
  try {
    const archive = await openArchive(source(bytes));
    await readEntries(archive);
    return 'accepted';
  } catch (error) {
    return (error as Failure).code;
  }
}

test.each([
  [{ schema: 'repository', name: 'node' }, 'data/repository.node/000001.csv'],
  [{ schema: 'a.b', name: 'c/d' }, 'data/a%2Eb.c%2Fd/000001.csv'],
  [{ schema: '..', name: '%' }, 'data/%2E%2E.%25/000001.csv'],
  [
    { schema: 'größe', name: 'tab\tnew\nline "q" \\' },
    'data/größe.tab%09new%0Aline%20%22q%22%20%5C/000001.csv',
  ],
  [{ schema: 'S', name: '☃' }, 'data/S.%E2%98%83/000001.csv'],
])('the entry of %j is %s', (table, name) => {
  expect(dataEntryName(table, 1)).toBe(name);
  expect(decodeURIComponent(name).includes(table.name)).toBe(true);
});

describe('what is written', () => {
  test('is read by unzip and by yauzl, with the checksums of the manifest', async () => {
    const { bytes, manifest } = await archiveOf({ one: 'a\nx\n', two: `a\n${'y'.repeat(100_000)}\n` });
    const folder = mkdtempSync(join(tmpdir(), 'archive-'));
    const file = join(folder, 'a.zip');
    writeFileSync(file, bytes);
    expect(execFileSync('unzip', ['-t', file], { encoding: 'utf8' })).toContain('No errors detected');
    expect(execFileSync('unzip', ['-p', file, 'data/s.one/000001.csv'], { encoding: 'utf8' })).toBe('a\nx\n');
    rmSync(folder, { recursive: true });

    const zip = await fromBufferPromise(bytes);
    const names: string[] = [];
    for await (const entry of zip.eachEntry()) {
      names.push(entry.fileName);
      const content = await buffer(await zip.openReadStreamPromise(entry));
      const described = manifest.tables
        .flatMap(({ entries }) => entries)
        .find(({ name }) => name === entry.fileName);
      if (described === undefined) continue;
      expect(described).toMatchObject({
        length: content.length,
        crc32: crc32(content).toString(16).padStart(8, '0'),
        sha256: createHash('sha256').update(content).digest('hex'),
      });
    }
    expect(names).toEqual(['data/s.one/000001.csv', 'data/s.two/000001.csv', 'manifest.json']);
  });

  test('is the same for the same data', async () => {
    const [a, b] = [await archiveOf({ one: 'a\nx\n' }), await archiveOf({ one: 'a\nx\n' })];
    expect(a.bytes.equals(b.bytes)).toBe(true);
  });

  test('lies in the order in which the entries were completed', async () => {
    const contents = { one: 'a\n1\n', two: 'a\n2\n', three: 'a\n3\n' };
    const { manifest } = await archiveOf(contents);
    const written: Buffer[] = [];
    const writer = new ArchiveWriter(async (bytes) => void written.push(Buffer.from(bytes)), OPTIONS);
    const names = manifest.tables.map(({ entries }) => entries[0]?.name ?? '');
    const entries = names.map((name) => writer.entry(name));
    for (const index of [2, 0, 1]) {
      await entries[index]?.write(Buffer.from('a\n'));
      await entries[index]?.write(Buffer.from(`${index + 1}\n`));
      entries[index]?.end();
    }
    await writer.finish({ ...FACTS, tables: manifest.tables });
    const bytes = Buffer.concat(written);
    const listed: string[] = [];
    for await (const entry of (await fromBufferPromise(bytes)).eachEntry()) listed.push(entry.fileName);
    expect(listed).toEqual([names[2], names[0], names[1], 'manifest.json']);
    expect(await readWhole(bytes)).toBe('accepted');
  });

  test.each([0, 1])(
    'at level %i, holds entries that are too long for memory, beside others that wait for them',
    async (compressionLevel) => {
      const long = Buffer.concat(
        Array.from({ length: 300 }, (_, i) => Buffer.from(`line ${i}\n`.repeat(10_000))),
      );
      expect(long.length).toBeGreaterThan(3 * ENTRY_MEMORY_BYTES);
      const written: Buffer[] = [];
      const writer = new ArchiveWriter(async (bytes) => void written.push(Buffer.from(bytes)), {
        ...OPTIONS,
        compressionLevel,
      });
      const fill = async (name: string, content: Buffer) => {
        const entry = writer.entry(name);
        for (let at = 0; at < content.length; at += 65_536)
          await entry.write(content.subarray(at, at + 65_536));
        return { ...entry.end(), rows: 1 };
      };
      const [a, b, c] = await Promise.all([
        fill('data/s.a/000001.csv', Buffer.from('a\n')),
        fill('data/s.a/000002.csv', long),
        fill('data/s.a/000003.csv', Buffer.from(long).reverse()),
      ]);
      const table = { schema: 's', name: 'a', rows: 3, columns: [], partitionOf: [], entries: [a, b, c] };
      await writer.finish({ ...FACTS, tables: [table] });
      const bytes = Buffer.concat(written);
      expect(await readWhole(bytes)).toBe('accepted');
      expect(b).toMatchObject({
        length: long.length,
        sha256: createHash('sha256').update(long).digest('hex'),
      });
      const folder = mkdtempSync(join(tmpdir(), 'archive-'));
      const file = join(folder, 'a.zip');
      writeFileSync(file, bytes);
      expect(execFileSync('unzip', ['-t', file], { encoding: 'utf8' })).toContain('No errors detected');
      rmSync(folder, { recursive: true });
    },
  );

  test('fails as a whole when an entry fails, or the sink', async () => {
    const writer = new ArchiveWriter(() => new Promise(() => undefined), { ...OPTIONS, waitingBytes: 1 });
    const [broken, good] = [writer.entry('data/s.a/000001.csv'), writer.entry('data/s.b/000001.csv')];
    await good.write(Buffer.from('a\n'));
    good.end();
    const waiting = writer.room();
    const long = writer.entry('data/s.c/000001.csv').write(Buffer.alloc(ENTRY_MEMORY_BYTES + 1));
    long?.catch(() => undefined);
    broken.fail(new Error('the table went away'));
    await expect(waiting).rejects.toThrow('the table went away');
    await expect(writer.room()).rejects.toThrow('the table went away');
    await expect(writer.finish(FACTS)).rejects.toThrow('the table went away');

    const unsendable = new ArchiveWriter(() => Promise.reject(new Error('the store went away')), OPTIONS);
    await expect(unsendable.finish(FACTS)).rejects.toThrow('the store went away');
  });

  test('fails, and does not wait for ever, when the sink fails in the middle of a long entry', async () => {
    let taken = 0;
    const writer = new ArchiveWriter(async (bytes) => {
      await new Promise((resolve) => setTimeout(resolve, 5));
      taken += bytes.length;
      if (taken > 4 * 1024 * 1024) throw new Error('the store went away');
    }, OPTIONS);
    const entry = writer.entry('data/s.a/000001.csv');
    const filling = (async () => {
      for (;;) await entry.write(randomBytes(256 * 1024));
    })();
    await expect(filling).rejects.toThrow('the store went away');
    entry.fail(new Error('the store went away'));
    await expect(writer.finish(FACTS)).rejects.toThrow('the store went away');
  });

  test('waits for its sink, and holds at most its limit', async () => {
    const options = { ...OPTIONS, waitingBytes: ENTRY_MEMORY_BYTES };
    const stuck = new ArchiveWriter(() => new Promise(() => undefined), options);
    let filled = 0;
    for (; stuck.room() === undefined; filled++) {
      const entry = stuck.entry(`data/s.a/${filled}.csv`);
      await entry.write(Buffer.alloc(ENTRY_MEMORY_BYTES / 2));
      entry.end();
    }
    expect(filled).toBe(2);

    const entry = stuck.entry('data/s.b/000001.csv');
    let taken = 0;
    let full: Promise<void> | undefined;
    while (full === undefined) {
      full = entry.write(Buffer.alloc(65_536));
      taken += 65_536;
    }
    expect(taken).toBe(ENTRY_MEMORY_BYTES + 65_536);
    let room = false;
    void stuck.room()?.then(() => (room = true));
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(room).toBe(false);
  });

  test('has room again once what waited is written', async () => {
    let open: () => void = () => undefined;
    const opened = new Promise<void>((resolve) => (open = resolve));
    const writer = new ArchiveWriter(() => opened, { ...OPTIONS, waitingBytes: 4 });
    const entry = writer.entry('data/s.a/000001.csv');
    await entry.write(Buffer.from('a\n1\n'));
    entry.end();
    const waiting = writer.room();
    expect(waiting).toBeInstanceOf(Promise);
    open();
    await waiting;
    expect(writer.room()).toBeUndefined();
  });
});

describe('opening', () => {
  test('gives the manifest, with few reads however many entries there are', async () => {
    const { bytes, manifest } = await archiveOf(
      Object.fromEntries(Array.from({ length: 2_000 }, (_, i) => [`t${i}`, 'a\n'])),
    );
    const reads: [number, number][] = [];
    expect((await openArchive(source(bytes, reads))).manifest).toEqual(manifest);
    expect(reads.length).toBeLessThan(6);
  });

  async function refusalOf(bytes: Buffer): Promise<string> {
    return openArchive(source(bytes)).then(
      () => 'accepted',
      (error: unknown) => (error as Error).message,
    );
  }

  async function zipOf(entries: Record<string, string>): Promise<Buffer> {
    const zip = new ZipFile();
    for (const [name, text] of Object.entries(entries)) zip.addBuffer(Buffer.from(text), name);
    zip.end();
    return buffer(zip.outputStream as Readable);
  }

  const whole = async () => JSON.stringify((await archiveOf({ one: 'a\nx\n' })).manifest);

  test.each<[string, () => Promise<Buffer>, RegExp]>([
    ['nothing', async () => Buffer.alloc(0), /not a complete snapshotd archive/],
    ['text', async () => Buffer.from('hello'.repeat(100)), /not a complete snapshotd archive/],
    ['another zip', () => zipOf({ 'a.txt': 'x' }), /its last entry is not manifest\.json/],
    ['a manifest that is not JSON', () => zipOf({ 'manifest.json': '{' }), /its manifest\.json is not JSON/],
    [
      "another product's manifest",
      () => zipOf({ 'manifest.json': '{"format":"else"}' }),
      /is not that of a snapshotd-archive/,
    ],
    ['null for a manifest', () => zipOf({ 'manifest.json': 'null' }), /is not that of a snapshotd-archive/],
    [
      'a format from the future',
      async () =>
        zipOf({ 'manifest.json': (await whole()).replace('"formatVersion":2', '"formatVersion":3') }),
      /has format version 3; this snapshotd reads versions up to 2/,
    ],
    [
      'a manifest with a hole',
      async () => zipOf({ 'manifest.json': (await whole()).replace('"daemonId":"7",', '') }),
      /is wrong at daemonId/,
    ],
    [
      'an entry too few',
      async () => zipOf({ 'manifest.json': await whole() }),
      /the entry data\/s\.one\/000001\.csv is missing/,
    ],
    [
      'an entry of another length',
      async () => zipOf({ 'data/s.one/000001.csv': 'a\nxx\n', 'manifest.json': await whole() }),
      /its records do not match its manifest/,
    ],
    [
      'an entry with other content',
      async () => zipOf({ 'data/s.one/000001.csv': 'a\ny\n', 'manifest.json': await whole() }),
      /its records do not match its manifest/,
    ],
  ])('refuses %s', async (_title, make, reason) => {
    expect(await refusalOf(await make())).toMatch(reason);
  });

  test('accepts what was written, stored or deflated, in one read of the data', async () => {
    for (const compressionLevel of [0, 1, 9]) {
      const { bytes } = await archiveOf(
        { one: 'a\nx\n', empty: '', two: `a\n${'y'.repeat(300_000)}\n` },
        { ...OPTIONS, compressionLevel },
      );
      expect(await readWhole(bytes)).toBe('accepted');
      const reads: [number, number][] = [];
      const archive = await openArchive(source(bytes, reads));
      reads.length = 0;
      await readEntries(archive);
      expect(reads.length).toBe(1);
    }
  });

  test.each([0, 1])(
    'refuses an archive of level %i in which any one byte was flipped',
    async (compressionLevel) => {
      const { bytes } = await archiveOf(
        { one: 'a\nx\n', two: 'a\nsome longer text, some longer text\n' },
        { ...OPTIONS, compressionLevel },
      );
      const accepted: number[] = [];
      for (let at = 0; at < bytes.length; at++) {
        const flipped = Buffer.from(bytes);
        flipped.writeUInt8(flipped.readUInt8(at) ^ 0xff, at);
        if ((await readWhole(flipped)) !== 'ARCHIVE_INVALID') accepted.push(at);
      }
      expect(accepted).toEqual([]);
    },
  );

  test('refuses an archive that was cut anywhere, or has more at its end', async () => {
    const { bytes } = await archiveOf({ one: 'a\nx\n', two: 'a\ny\n' });
    const accepted: number[] = [];
    for (let length = 0; length < bytes.length; length++)
      if ((await readWhole(bytes.subarray(0, length))) !== 'ARCHIVE_INVALID') accepted.push(length);
    expect(accepted).toEqual([]);
    expect(await readWhole(Buffer.concat([bytes, Buffer.from('x')]))).toBe('ARCHIVE_INVALID');
  });

  test('tells a broken source from a broken archive', async () => {
    const { bytes } = await archiveOf({ one: 'a\nx\n' });
    const away = new Failure('STORE_UNREACHABLE', 'transient', 'gone');
    let reads = 0;
    const failing: RangeSource = {
      length: bytes.length,
      read: (start, end) =>
        ++reads > 2
          ? new Readable({
              read() {
                this.destroy(away);
              },
            })
          : source(bytes).read(start, end),
    };
    await expect(openArchive(failing)).rejects.toBe(away);
  });
});

describe('finding out what an archive is', () => {
  test('takes two reads, however many entries there are', async () => {
    const contents = Object.fromEntries(Array.from({ length: 2_000 }, (_, i) => [`t${i}`, 'a\n1\n']));
    const { bytes, manifest } = await archiveOf(contents);
    const reads: [number, number][] = [];
    const found = await findManifest(source(bytes, reads));
    const { totals, tables, definitions } = await found.read();
    expect({ totals, tables: tables.length, definitions, reads: reads.length }).toEqual({
      totals: manifest.totals,
      tables: 2_000,
      definitions: false,
      reads: 2,
    });
  });

  test.each([
    ['that is small', 1_000, 100],
    ['whose manifest lies behind 4 GB', 5 * 1024 ** 3, 100],
    ['whose manifest is longer than 4 GB', 5 * 1024 ** 3, 6 * 1024 ** 3],
  ])('finds the manifest of one %s', (_title, offset, length) => {
    const record = {
      name: 'manifest.json',
      method: 8,
      crc32: 7,
      compressedLength: 50,
      length,
      offset,
      streamed: false,
    };
    const end = centralDirectory([record], entryTime(OPTIONS.modifiedAt), offset + extent(record));
    expect(lastRecord(end.subarray(-LAST_RECORD_BYTES), 'manifest.json')).toEqual(record);
    expect(lastRecord(end.subarray(-LAST_RECORD_BYTES), 'manifest.jsom')).toBeUndefined();
  });
});

test('a manifest survives being written and read', () => {
  const manifest = createManifest(FACTS);
  expect(parseManifest(JSON.stringify(manifest))).toEqual(manifest);
});

test('a long manifest is written without indentation, and read', async () => {
  const sequences = Array.from({ length: 16_000 }, (_, n) => ({
    schema: 's',
    name: `number_${n}`,
    lastValue: '1',
    isCalled: true,
  }));
  const lengthOf = async (facts: ManifestFacts) => {
    const written: Buffer[] = [];
    const writer = new ArchiveWriter(async (bytes) => void written.push(Buffer.from(bytes)), OPTIONS);
    const manifest = await writer.finish(facts);
    const archive = await openArchive(source(Buffer.concat(written)));
    expect(archive.manifest).toEqual(manifest);
    const found = await findManifest(source(Buffer.concat(written)));
    return { bytes: found.length, compact: JSON.stringify(manifest).length + 1 };
  };
  const [short, long] = [await lengthOf(FACTS), await lengthOf({ ...FACTS, sequences })];
  expect(short.bytes).toBeGreaterThan(short.compact);
  expect(long.bytes).toBe(long.compact);
});
