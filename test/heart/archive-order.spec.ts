import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { openArchive, type RangeSource } from '#archive';
import { DownloadedArchive } from '../support/archive.js';
import { MemoryJournal, runBackup, runRestore, runVerify } from '../support/heart.js';
import { newDatabase, putBytes, sql, storeOfTests } from '../support/servers.js';
import { stateOf } from '../support/state.js';

const store = storeOfTests();

const KiB = 1024;
const fixture = (name: string) => readFileSync(join(__dirname, '..', 'fixtures', name));

test('an archive of format 1, made by version 0.1.0, is verified and restored', async () => {
  await putBytes('format-1.zip', fixture('format-1.zip'));
  const url = await newDatabase();
  await sql(url, fixture('format-1.sql').toString());
  await runVerify(store, url, ['s'], 'format-1.zip');
  expect(await runRestore(store, url, ['s'], 'format-1.zip')).toMatchObject({ entities: 912 });
  const [counts] = await sql(
    url,
    `SELECT (SELECT count(*)::int FROM s.texts) AS texts, (SELECT count(*)::int FROM s.texts WHERE v IS NULL) AS nulls,
            (SELECT sum(text_id)::int FROM s.child) AS children, (SELECT count(*)::int FROM s.none) AS none, nextval('s.child_id_seq')::int AS next`,
  );
  expect(counts).toEqual({ texts: 900, nulls: 225, children: 45, none: 3, next: 10 });
});

/** Two tables of the same size, each of which one session reads: their entries lie in turns, more or less. */
async function twoTables(): Promise<string> {
  const url = await newDatabase();
  await sql(
    url,
    `CREATE SCHEMA s; CREATE ROLE "${new URL(url).pathname.slice(1)}";
     CREATE TABLE s.one (id int PRIMARY KEY, v text); CREATE TABLE s.two (id int REFERENCES s.one, v text); CREATE TABLE s.z AS SELECT 1 AS a;
     ALTER TABLE s.one ALTER v SET STORAGE EXTERNAL; ALTER TABLE s.two ALTER v SET STORAGE EXTERNAL;
     INSERT INTO s.one SELECT i, repeat('x', 10000) || i FROM generate_series(1, 2000) i; INSERT INTO s.two TABLE s.one;
     ALTER TABLE s.one OWNER TO "${new URL(url).pathname.slice(1)}"; ALTER TABLE s.two OWNER TO "${new URL(url).pathname.slice(1)}"`,
  );
  return url;
}

test('two tables that are read at once fill entries of both, and come back in their own order', async () => {
  const url = await twoTables();
  const before = await stateOf(url, ['s']);
  const { key } = await runBackup(store, url, ['s'], { chunkBytes: 64 * KiB });
  const archive = await DownloadedArchive.of(store, key);
  archive.test();
  const order = archive.entries().filter((name) => /^data\/s\.(one|two)\//.test(name));
  const tables = order.map((name) => name.split('/')[1]);
  const changes = tables.filter((table, index) => table !== tables[index - 1]).length;
  expect(changes).toBeGreaterThan(5);
  for (const name of ['one', 'two']) {
    const ids = archive.rows('s', name).map((row) => Number(row.split(',')[0]));
    expect(ids).toEqual(Array.from({ length: 2_000 }, (_, index) => index + 1));
  }
  await sql(url, 'TRUNCATE s.two, s.one, s.z');
  await runVerify(store, url, ['s'], key);
  await runRestore(store, url, ['s'], key);
  expect(await stateOf(url, ['s'])).toEqual(before);
});

test('an archive is read by ranges: once from front to back by a verification, and only what is wanted for some tables', async () => {
  const url = await twoTables();
  const { key } = await runBackup(store, url, ['s'], { chunkBytes: 64 * KiB });
  const bytes = readFileSync((await DownloadedArchive.of(store, key)).file);
  const reads: [number, number][] = [];
  const source: RangeSource = {
    length: bytes.length,
    read: (start, end) => {
      reads.push([start, end]);
      return Readable.from([bytes.subarray(start, end)]);
    },
  };
  const archive = await openArchive(source);
  const entries = archive.manifest.tables.flatMap((table) => table.entries);
  reads.length = 0;
  const whole = archive.read(archive.sorted(entries, (entry) => entry));
  for (let entry = whole.next(); entry !== undefined; entry = whole.next()) await buffer(entry);
  expect(reads.length).toBe(1);

  reads.length = 0;
  const one = archive.manifest.tables.find(({ name }) => name === 'one')?.entries ?? [];
  const some = archive.read(one.slice(0, 2));
  for (let entry = some.next(); entry !== undefined; entry = some.next()) await buffer(entry);
  const [read] = reads;
  expect(reads.length).toBe(1);
  expect((read?.[1] ?? 0) - (read?.[0] ?? 0)).toBeLessThan(bytes.length / 3);
});

test('the total that a backup tells never falls below what was read, and is exact at the end', async () => {
  const url = await newDatabase();
  // Statistics that are far too low, and a table without any.
  await sql(
    url,
    `CREATE SCHEMA s; CREATE TABLE s.low (id int, v text); INSERT INTO s.low SELECT i, repeat('x', 100) FROM generate_series(1, 500) i; ANALYZE s.low;
     CREATE TABLE s.unknown AS SELECT i AS id, 'y' AS v FROM generate_series(1, 3000) i`,
  );
  await sql(url, `UPDATE pg_class SET reltuples = 7 WHERE oid = 's.low'::regclass`);
  const journal = new MemoryJournal();
  const { entities } = await runBackup(store, url, ['s'], { chunkBytes: 8 * KiB, journal });
  expect(entities).toBe(3500);
  const copying = journal.lines.filter(({ message }) => message.startsWith('Copying'));
  expect(copying.length).toBeGreaterThan(10);
  for (const { current, total } of journal.lines) expect(total).toBeGreaterThanOrEqual(current);
  // As the planner would have it: within a factor of three for a table that nobody has looked at.
  expect(copying[0]?.total).toBeGreaterThan(1_000);
  expect(copying[0]?.total).toBeLessThan(10_000);
  const last = journal.lines.at(-1);
  expect(last?.message).toMatch(/^Finishing the upload of 3500 entities/);
  expect(last?.total).toBe(3500 + 350);
});
