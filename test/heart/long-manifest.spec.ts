import { resolve } from 'node:path';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { ZipFile } from 'yazl';
import type * as archives from '#archive';

/** Uses the build, because a child process that runs built code parses a long manifest. */
const built = (module: string): unknown => jest.requireActual(resolve('dist', 'libs', 'archive', module));
const { createManifest, findManifest } = built('index') as typeof archives;

const TABLES = 6_000;

async function summaryOf(manifest: unknown): Promise<{ length: number; summary: archives.ManifestSummary }> {
  const zip = new ZipFile();
  zip.addBuffer(
    Buffer.from(typeof manifest === 'string' ? manifest : JSON.stringify(manifest)),
    'manifest.json',
  );
  zip.end();
  const bytes = await buffer(zip.outputStream);
  const found = await findManifest({
    length: bytes.length,
    read: (start, end) => Readable.from([bytes.subarray(start, end)]),
  });
  return { length: found.length, summary: await found.read() };
}

const manifest = createManifest({
  product: { name: 'snapshotd', version: '0.0.0' },
  daemonId: '7',
  takenAt: '2026-01-02T03:04:05.678Z',
  server: { version: '18.4', encoding: 'UTF8', database: 'd' },
  snapshot: { name: '00000003-1', walPosition: '0/1' },
  schemas: ['s'],
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
  sequences: [],
  extensions: [],
  leftOut: [],
});

test('a manifest above 1 MiB is parsed by a child process with the same result', async () => {
  const { length, summary } = await summaryOf(manifest);
  expect(length).toBeGreaterThan(1024 * 1024);
  const { totals, tables, takenAt } = summary;
  expect({ totals, takenAt, tables: tables.length, last: tables.at(-1) }).toEqual({
    totals: { tables: TABLES, entities: TABLES, bytes: 4 * TABLES },
    takenAt: manifest.takenAt,
    tables: TABLES,
    last: { schema: 's', name: `table_${TABLES - 1}`, rows: 1, bytes: 4 },
  });
});

test.each([
  ['with a wrong value', { ...manifest, takenAt: 'yesterday' }, /manifest\.json is wrong at takenAt/],
  ['that is no JSON', `${JSON.stringify(manifest)}}`, /manifest\.json is no JSON/],
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
