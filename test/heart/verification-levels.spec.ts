import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { VerificationLevel } from '#contracts';
import { readRecordOf } from '#engine';
import { DownloadedArchive } from '../support/archive.js';
import { heartKeys, runBackup, runVerify } from '../support/heart.js';
import { newDatabase, putBytes, sql, storeOfTests } from '../support/servers.js';

const store = storeOfTests();
const never = new AbortController().signal;
/** Nothing listens there. */
const NOWHERE = 'postgres://nobody@127.0.0.1:1/nothing';

let url: string;
let key: string;
beforeAll(async () => {
  url = await newDatabase();
  await sql(
    url,
    "CREATE SCHEMA s; CREATE TABLE s.t AS SELECT generate_series(1, 100) AS n; SELECT lo_from_bytea(0, 'large')",
  );
  ({ key } = await runBackup(store, url, ['s'], { definitions: 'required' }));
});

async function recordOf(archive: string) {
  const object = await store.find(archive, never);
  if (object === undefined) throw new Error(`There is no archive ${archive}`);
  return readRecordOf(store, heartKeys, object, never);
}

test('the level READ proves every byte without any database', async () => {
  expect(await runVerify(store, NOWHERE, ['s'], key, { level: 'READ' })).toMatchObject({
    entities: 100,
    verification: {
      level: 'READ',
      proven: [expect.stringMatching(/^Every byte/)],
      notProven: [expect.stringContaining('the level FIT'), expect.stringContaining('the level DRILL')],
    },
  });
  const record = await recordOf(key);
  expect(record).toMatchObject({ restorable: true, level: 'READ' });
  expect(record?.durationMs).toBeLessThan(60_000);
  await expect(runVerify(store, NOWHERE, ['s'], key, { level: 'FIT' })).rejects.toMatchObject({
    code: 'DATABASE_UNREACHABLE',
  });
});

test('the level READ finds one wrong byte in each entry', async () => {
  const archive = await DownloadedArchive.of(store, key);
  const bytes = readFileSync(archive.file);
  for (const name of archive.entries()) {
    // The first local header with this name ends with the length of its extra field, the name and that field.
    const start = bytes.indexOf(name);
    const content = start + name.length + bytes.readUInt16LE(start - 2);
    const damaged = Buffer.from(bytes);
    damaged.writeUInt8(damaged.readUInt8(content + 2) ^ 4, content + 2);
    await putBytes('damaged.zip', damaged);
    await expect(runVerify(store, NOWHERE, ['s'], 'damaged.zip', { level: 'READ' })).rejects.toMatchObject({
      code: 'ARCHIVE_INVALID',
    });
    expect(await recordOf('damaged.zip')).toMatchObject({ restorable: false, level: 'READ' });
  }
});

test('a role that only backs up can verify at the level READ, and is told so at the level FIT', async () => {
  const role = `reader_${randomBytes(4).toString('hex')}`;
  await sql(url, `CREATE ROLE ${role} LOGIN PASSWORD 'pw' IN ROLE pg_read_all_data`);
  const reader = url.replace(/\/\/[^@]+@/, `//${role}:pw@`);
  await runVerify(store, reader, ['s'], key, { level: 'READ' });
  await expect(runVerify(store, reader, ['s'], key, { level: 'FIT' })).rejects.toThrow(
    'A verification of level READ needs none of these rights.',
  );
});

test('a lower level does not undo a higher one, unless it finds a fault or the object is another', async () => {
  const reached = async (level: VerificationLevel) => {
    await runVerify(store, url, ['s'], key, { level });
    const { level: last, reached: highest } = (await recordOf(key)) ?? {};
    return [last, highest?.level];
  };
  expect(await reached('DRILL')).toEqual(['DRILL', undefined]);
  expect(await reached('READ')).toEqual(['READ', 'DRILL']);
  expect(await reached('FIT')).toEqual(['FIT', 'DRILL']);
  expect(await reached('DRILL')).toEqual(['DRILL', undefined]);

  await sql(url, 'ALTER TABLE s.t ADD more int');
  await expect(runVerify(store, url, ['s'], key, { level: 'FIT' })).rejects.toThrow('more');
  await sql(url, 'ALTER TABLE s.t DROP more');
  expect(await reached('READ')).toEqual(['READ', undefined]);

  await reached('DRILL');
  const other = await runBackup(store, url, ['s']);
  await putBytes(key, readFileSync((await DownloadedArchive.of(store, other.key)).file));
  expect(await reached('READ')).toEqual(['READ', undefined]);
});
