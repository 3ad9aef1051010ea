import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { ZipFile } from 'yazl';
import { createManifest, findManifest, type ManifestSummary } from '#archive';
import { manifestFacts } from '../support/manifest-facts.js';
import { sample } from '../support/servers.js';

const TABLES = 6_000;

async function zipOf(manifest: string, compress = true): Promise<Buffer> {
  const zip = new ZipFile();
  zip.addBuffer(Buffer.from(manifest), 'manifest.json', { compress });
  zip.end();
  return buffer(zip.outputStream);
}

async function summaryIn(zip: Buffer): Promise<{ length: number; summary: ManifestSummary }> {
  const found = await findManifest({
    length: zip.length,
    read: (start, end) => Readable.from([zip.subarray(start, end)]),
  });
  return { length: found.length, summary: await found.read() };
}

async function summaryOf(manifest: unknown): Promise<{ length: number; summary: ManifestSummary }> {
  return summaryIn(await zipOf(typeof manifest === 'string' ? manifest : JSON.stringify(manifest)));
}

const manifest = createManifest(
  manifestFacts({
    tables: Array.from({ length: TABLES }, (_, index) => ({
      schema: 's',
      name: `table_${index}`,
      rows: 1,
      columns: [{ name: 'a', type: 'text', notNull: false, generated: false }],
      partitionOf: [],
      entries: [
        {
          name: `data/s.table_${index}/000001.csv`,
          length: 4,
          rows: 1,
          crc32: '0'.repeat(8),
          sha256: '0'.repeat(64),
        },
      ],
    })),
    sequences: ['a', 'b'].map((name) => ({ schema: 's', name, lastValue: '1', isCalled: true })),
    definitions: { name: 'schema.sql', length: 1, crc32: '0'.repeat(8), sha256: '0'.repeat(64) },
    warnings: ['a\nb', ']'],
    leftOut: [
      { kind: 'table', count: 3, what: 'the "table" {x}', why: 'größe \\', of: [{ schema: 's', name: 't' }] },
      { what: 'of an older archive', why: '' },
    ],
  }),
);

test.each([undefined, 1])(
  'a manifest above 1 MiB gives its facts, with indentation %p',
  async (indentation) => {
    const { length, summary } = await summaryOf(JSON.stringify(manifest, null, indentation));
    expect(length).toBeGreaterThan(1024 * 1024);
    const { totals, tables, takenAt, sequences, definitions, leftOut, warnings } = summary;
    const rest = { sequences, definitions, leftOut, warnings };
    expect({ totals, takenAt, tables: tables.length, last: tables.at(-1), ...rest }).toEqual({
      totals: { tables: TABLES, entities: TABLES, bytes: 4 * TABLES },
      takenAt: manifest.takenAt,
      tables: TABLES,
      last: { schema: 's', name: `table_${TABLES - 1}`, partitionOf: [], rows: 1, bytes: 4 },
      sequences: 2,
      definitions: true,
      leftOut: [
        { kind: 'table', count: 3, what: 'the "table" {x}', why: 'größe \\' },
        { what: 'of an older archive', why: '' },
      ],
      warnings: ['a\nb', ']'],
    });
  },
);

test.each([
  ['with a wrong value', { ...manifest, takenAt: 'yesterday' }, /manifest\.json is wrong at takenAt/],
  ['that is not JSON', `${JSON.stringify(manifest)}}`, /manifest\.json is not JSON/],
  ['that was cut off', JSON.stringify(manifest).slice(0, -1), /manifest\.json is not JSON/],
  ['with a table that is none', { ...manifest, tables: [...manifest.tables, 7] }, /is wrong at tables\.6000/],
  [
    'of a newer format',
    { ...manifest, formatVersion: 99 },
    /format version 99; this snapshotd reads versions up to/,
  ],
])('a manifest above 1 MiB %s is refused with the reason', async (_what, wrong, reason) => {
  await expect(summaryOf(wrong)).rejects.toMatchObject({
    code: 'ARCHIVE_INVALID',
    message: expect.stringMatching(reason) as unknown,
    hint: expect.any(String) as unknown,
  });
});

const MANIFEST_BYTES = 64 * 1024 * 1024;
const times = (text: string) => text.repeat(MANIFEST_BYTES / text.length - 100);
const HEAD = '{"format":"snapshotd-archive","formatVersion":2';

/** JSON.parse takes gigabytes for some of these. */
const HUGE: [string, () => string, RegExp][] = [
  ['brackets', () => times('['), /is not JSON/],
  ['tables', () => `${HEAD},"tables":[${times('{},')}{}]}`, /too many values/],
  ['entries', () => `${HEAD},"tables":[{"entries":[${times('{"length":0},')}{}]}]}`, /too many values/],
  ['columns', () => `${HEAD},"tables":[{"columns":[${times('{},')}0]}]}`, /is wrong at/],
  ['repeated members', () => `${HEAD}${times(',"tables":[]')}}`, /too many values/],
  ['escapes', () => `${HEAD},"daemonId":"${times('\\"')}"}`, /too long/],
];

test.each(sample(HUGE, 3))(
  'a manifest of 64 MiB of %s is refused while memory stays flat',
  async (_what, make, reason) => {
    const zip = await zipOf(make(), false);
    const before = process.memoryUsage().rss;
    let peak = 0;
    const look = setInterval(() => {
      peak = Math.max(peak, process.memoryUsage().rss - before);
    }, 5);
    await expect(summaryIn(zip)).rejects.toMatchObject({
      code: 'ARCHIVE_INVALID',
      message: expect.stringMatching(reason) as unknown,
    });
    clearInterval(look);
    expect(peak).toBeLessThan(350 * 1024 * 1024);
  },
);
