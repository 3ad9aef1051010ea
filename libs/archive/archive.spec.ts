import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { crc32 } from 'node:zlib';
import { fromBufferPromise } from 'yauzl';
import { ZipFile } from 'yazl';
import { Failure } from '#contracts';
import {
  ArchiveWriter,
  createManifest,
  dataEntryName,
  type Manifest,
  type ManifestFacts,
  openArchive,
  parseManifest,
  type RangeSource,
} from './index.js';

const never = new AbortController().signal;
const OPTIONS = { compressionLevel: 1, modifiedAt: new Date('2026-01-02T03:04:05.678Z') };

const FACTS: ManifestFacts = {
  product: { name: 'snapshotd', version: '0.0.0' },
  daemonId: '7',
  takenAt: '2026-01-02T03:04:05.678Z',
  server: { version: '18.4', encoding: 'UTF8', database: 'd' },
  snapshot: { name: '00000003-1', walPosition: '0/1' },
  schemas: ['s'],
  tables: [],
  sequences: [{ schema: 's', name: 'q', lastValue: '9223372036854775807', isCalled: true }],
  extensions: [],
  leftOut: [],
};

async function archiveOf(
  contents: Record<string, string>,
  options = OPTIONS,
): Promise<{ bytes: Buffer; manifest: Manifest }> {
  const writer = new ArchiveWriter(options);
  const bytes = buffer(writer.output);
  const tables: ManifestFacts['tables'] = [];
  for (const [table, csv] of Object.entries(contents)) {
    const entry = await writer.addEntry(
      dataEntryName({ schema: 's', name: table }, 1),
      Readable.from([Buffer.from(csv)]),
      never,
    );
    tables.push({
      schema: 's',
      name: table,
      rows: 1,
      columns: [{ name: 'a', type: 'text', notNull: false, generated: false }],
      entries: [{ ...entry, rows: 1 }],
    });
  }
  const manifest = writer.finish({ ...FACTS, tables });
  return { bytes: await bytes, manifest };
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

  test('fails as a whole when an entry fails', async () => {
    const writer = new ArchiveWriter(OPTIONS);
    const output = buffer(writer.output);
    const broken = Readable.from(
      (async function* () {
        yield Buffer.from('a\n');
        await Promise.resolve();
        throw new Error('the table went away');
      })(),
    );
    await expect(writer.addEntry('data/s.t/000001.csv', broken, never)).rejects.toThrow(
      'the table went away',
    );
    await expect(output).rejects.toThrow('the table went away');
  });

  test('waits for its reader', async () => {
    const writer = new ArchiveWriter({ ...OPTIONS, compressionLevel: 0 });
    let given = 0;
    const endless = new Readable({
      read() {
        given += 65_536;
        this.push(Buffer.alloc(65_536));
      },
    });
    const stop = new AbortController();
    const adding = writer.addEntry('data/s.t/000001.csv', endless, stop.signal);
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect(given).toBeLessThan(4 * 1024 * 1024);
    writer.output.on('error', () => undefined);
    stop.abort();
    await expect(adding).rejects.toThrow('aborted');
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
    ['nothing', async () => Buffer.alloc(0), /no whole snapshotd archive/],
    ['text', async () => Buffer.from('hello'.repeat(100)), /no whole snapshotd archive/],
    ['another zip', () => zipOf({ 'a.txt': 'x' }), /its last entry is no manifest\.json/],
    ['a manifest that is no JSON', () => zipOf({ 'manifest.json': '{' }), /its manifest\.json is no JSON/],
    [
      "another product's manifest",
      () => zipOf({ 'manifest.json': '{"format":"else"}' }),
      /is not that of a snapshotd-archive/,
    ],
    ['null for a manifest', () => zipOf({ 'manifest.json': 'null' }), /is not that of a snapshotd-archive/],
    [
      'a format from the future',
      async () =>
        zipOf({ 'manifest.json': (await whole()).replace('"formatVersion":1', '"formatVersion":2') }),
      /has format version 2; this snapshotd reads versions up to 1/,
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
      /its records are not those that its manifest describes/,
    ],
    [
      'an entry with other content',
      async () => zipOf({ 'data/s.one/000001.csv': 'a\ny\n', 'manifest.json': await whole() }),
      /its records are not those that its manifest describes/,
    ],
  ])('refuses %s', async (_title, make, reason) => {
    expect(await refusalOf(await make())).toMatch(reason);
  });

  /** Opens the archive and reads every entry to its end. */
  async function readWhole(bytes: Buffer): Promise<string> {
    try {
      const archive = await openArchive(source(bytes));
      for (const { entries } of archive.manifest.tables)
        for (const entry of entries) await buffer(archive.readEntry(entry));
      return 'accepted';
    } catch (error) {
      return (error as Failure).code;
    }
  }

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
      for (const { entries } of archive.manifest.tables)
        for (const entry of entries) await buffer(archive.readEntry(entry));
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

test('a manifest survives being written and read', () => {
  const manifest = createManifest(FACTS);
  expect(parseManifest(JSON.stringify(manifest))).toEqual(manifest);
});
