import { readdirSync, readFileSync, utimesSync } from 'node:fs';
import { join } from 'node:path';
import { scopeOf } from '#config';
import { DownloadedArchive } from '../support/archive.js';
import { runBackup } from '../support/heart.js';
import { S3Proxy } from '../support/s3-proxy.js';
import { newDatabase, openStore, putBytes, servers, sql, storeOfTests } from '../support/servers.js';

const store = storeOfTests();
const keyPrefix = `lost-${Date.now()}/`;
const options = { keyPrefix, shrinkWarningPercent: 50, parallelJobs: 1 };
let url: string;

beforeAll(async () => {
  url = await newDatabase();
  await sql(
    url,
    `CREATE SCHEMA s; CREATE SCHEMA t; CREATE TABLE s.big AS SELECT generate_series(1, 2000) AS a;
     CREATE TABLE s.small AS SELECT generate_series(1, 500) AS a;
     CREATE TABLE s.day (a int) PARTITION BY LIST (a);
     CREATE TABLE s.day_1 PARTITION OF s.day FOR VALUES IN (1); CREATE TABLE s.day_2 PARTITION OF s.day FOR VALUES IN (2);
     INSERT INTO s.day SELECT 1 + i % 2 FROM generate_series(1, 3000) AS i`,
  );
});

const manifestOf = async (key: string) => (await DownloadedArchive.of(store, key)).manifest();

test('a backup warns if rows are missing since the last archive without a warning, until that is confirmed', async () => {
  const first = await runBackup(store, url, ['s'], options);
  expect(first).toMatchObject({ warnings: [], shrunk: undefined });

  await sql(url, 'DELETE FROM s.big WHERE a > 800; DELETE FROM s.small WHERE a > 1; DROP TABLE s.day_1');
  const name = first.key.slice(keyPrefix.length);
  const shrunk = {
    archive: name,
    takenAt: (await manifestOf(first.key)).takenAt,
    total: { before: 5500, after: 2301 },
    tables: [{ schema: 's', name: 'big', before: 2000, after: 800 }],
  };
  // The second one is compared with the same archive as the first: its predecessor has a warning.
  const warned = [await runBackup(store, url, ['s'], options), await runBackup(store, url, ['s'], options)];
  for (const { key, ...result } of warned) {
    expect(result).toMatchObject({
      shrunk,
      warnings: [expect.stringContaining('s.big (from 2,000 to 800 rows), the whole repository')],
    });
    expect(await manifestOf(key)).toMatchObject({ shrunk, warnings: result.warnings });
  }

  const confirmedKey = warned[1]?.key;
  const confirmed = await runBackup(store, url, ['s'], { ...options, confirmedKey });
  expect(confirmed).toMatchObject({ warnings: [], shrunk: undefined });
  await sql(url, 'DROP TABLE s.small');
  expect(await runBackup(store, url, ['s'], { ...options, confirmedKey })).toMatchObject({
    shrunk: { tables: [{ schema: 's', name: 'small', before: 1, after: 0 }] },
  });
});

test('archives of another scope, and of another database, are not compared with', async () => {
  const apart = { ...options, keyPrefix: `${keyPrefix}apart/` };
  await runBackup(store, url, ['s'], apart);
  await sql(url, 'TRUNCATE s.day');
  const others = [
    runBackup(store, url, ['s', 't'], apart),
    runBackup(store, url, { ...scopeOf(['s']), excludeTables: ['s.none'] }, apart),
    newDatabase().then(async (other) => {
      await sql(other, 'CREATE SCHEMA s');
      return runBackup(store, other, ['s'], apart);
    }),
  ];
  for (const other of await Promise.all(others)) expect(other).toMatchObject({ warnings: [] });
  expect((await runBackup(store, url, ['s'], apart)).shrunk?.tables).toMatchObject([{ name: 'day' }]);
});

/** Sets the time at which the embedded S3 server says that the objects below a prefix were uploaded. */
function setUploaded(prefix: string, when: Date): void {
  const records = join(servers.folder, 's3/buckets/archives/objects');
  for (const path of readdirSync(records).map((name) => join(records, name))) {
    const { key } = JSON.parse(readFileSync(path, 'utf8')) as { key: string };
    if (key.startsWith(prefix)) utimesSync(path, when, when);
  }
}

test('of archives that were uploaded in the same second, the one taken last is compared with', async () => {
  const apart = { ...options, keyPrefix: `${keyPrefix}second/` };
  const other = await newDatabase();
  await sql(other, 'CREATE SCHEMA s; CREATE TABLE s.t AS SELECT generate_series(1, 2000) AS a');
  // Their names are in another order than their times.
  for (const daemonId of ['1', '9']) await runBackup(store, other, ['s'], { ...apart, daemonId });
  await sql(other, 'DELETE FROM s.t WHERE a > 1200');
  expect(await runBackup(store, other, ['s'], { ...apart, daemonId: '5' })).toMatchObject({ warnings: [] });
  setUploaded(apart.keyPrefix, new Date());
  await sql(other, 'DELETE FROM s.t WHERE a > 700');
  expect(await runBackup(store, other, ['s'], apart)).toMatchObject({ warnings: [] });
});

test('a backup succeeds and says so if it cannot be compared', async () => {
  const apart = { ...options, keyPrefix: `${keyPrefix}faulty/` };
  await putBytes(`${apart.keyPrefix}BackupDaemonJob9-9.zip`, Buffer.from('damaged'));
  const damaged = await runBackup(store, url, ['s'], apart);
  expect(damaged.warnings).toEqual([
    'The rows were not compared with an earlier archive: the archive BackupDaemonJob9-9.zip is damaged.',
  ]);
  expect(await manifestOf(damaged.key)).toMatchObject({
    notCompared: 'the archive BackupDaemonJob9-9.zip is damaged',
  });

  const proxy = await S3Proxy.to(servers.s3.endpoint);
  const closed = openStore({ ...servers.s3, endpoint: proxy.url });
  proxy.fault = ({ operation }) =>
    operation === 'ListObjects' ? { status: 403, code: 'AccessDenied' } : undefined;
  expect((await runBackup(closed, url, ['s'], apart)).warnings).toEqual([
    expect.stringMatching(/^The rows were not compared with an earlier archive: .*s3:ListBucket/),
  ]);
  closed.close();
  await proxy.close();
});
