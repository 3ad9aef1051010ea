import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import type { Failure } from '#contracts';
import type { ObjectStore } from '#storage';
import { DownloadedArchive } from '../support/archive.js';
import { MemoryJournal, runBackup, runRestore, runVerify } from '../support/heart.js';
import { newDatabase, openStore, servers, sql } from '../support/servers.js';
import { pgDump, stateOf } from '../support/state.js';

let store: ObjectStore;
const path = process.env['PATH'];
beforeAll(() => {
  store = openStore(servers.s3);
});
beforeEach(() => {
  process.env['PATH'] = `${servers.debianPostgres?.binaries}:${path}`;
});
afterAll(() => {
  process.env['PATH'] = path;
  store.close();
});

const SCHEMA = `
  CREATE FUNCTION public.ok(int) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT $1 > 0';
  CREATE EXTENSION pg_trgm;
  CREATE SCHEMA other; CREATE TYPE other.mood AS ENUM ('glad');
  CREATE SCHEMA s;
  CREATE TABLE s.p (id serial PRIMARY KEY, mood other.mood, CHECK (public.ok(id)));
  CREATE TABLE s.c (p int REFERENCES s.p, word text);
  CREATE INDEX ON s.c USING gin (word gin_trgm_ops);
  INSERT INTO s.p (mood) SELECT 'glad' FROM generate_series(1, 9); INSERT INTO s.c SELECT id, 'word' FROM s.p;
  CREATE MATERIALIZED VIEW s.m AS SELECT count(*) FROM s.p;`;

const onDebians = servers.debianPostgres ? describe : describe.skip;

onDebians('where pg_dump can read the server', () => {
  const server = servers.debianPostgres?.url ?? '';
  const psql = (url: string, ...args: string[]) =>
    execFileSync(
      join(servers.debianPostgres?.binaries ?? '', 'psql'),
      ['-XqAt', '-v', 'ON_ERROR_STOP=1', ...args, url],
      {
        encoding: 'utf8',
        stdio: ['pipe', 'pipe', 'pipe'],
      },
    );

  test('a lost database is made anew from the archive alone', async () => {
    const url = await newDatabase(server);
    await sql(url, SCHEMA);
    const before = await stateOf(url, ['s', 'other']);
    const dump = await pgDump(url, ['s', 'other']);
    const { key, leftOut } = await runBackup(store, url, ['s']);
    expect(leftOut).toEqual([]);
    await runVerify(store, url, ['s'], key);
    const archive = await DownloadedArchive.of(store, key);
    archive.test();
    expect(archive.entries()).toEqual([
      'data/s.c/000001.csv',
      'data/s.p/000001.csv',
      'schema.sql',
      'manifest.json',
    ]);

    const empty = await newDatabase(server);
    execFileSync(
      join(servers.debianPostgres?.binaries ?? '', 'psql'),
      ['-Xq', '-v', 'ON_ERROR_STOP=1', empty],
      {
        input: archive.read('schema.sql'),
        stdio: ['pipe', 'ignore', 'pipe'],
      },
    );
    await runRestore(store, empty, ['s'], key);
    psql(empty, '-c', 'REFRESH MATERIALIZED VIEW s.m');
    expect(await stateOf(empty, ['s', 'other'])).toEqual(before);
    expect(await pgDump(empty, ['s', 'other'])).toBe(dump);
  });

  test('they are of the same instant as the rows', async () => {
    const url = await newDatabase(server);
    await sql(url, SCHEMA);
    const journal = new MemoryJournal();
    let changing: Promise<unknown> | undefined;
    journal.onReport = ({ message }) => {
      if (message.startsWith('Copying'))
        changing ??= sql(
          url,
          'CREATE TABLE s.later (a int); CREATE FUNCTION s.later() RETURNS int LANGUAGE sql RETURN 1',
        );
    };
    const { key } = await runBackup(store, url, ['s'], { journal });
    await changing;
    const definitions = (await DownloadedArchive.of(store, key)).read('schema.sql').toString();
    expect(definitions).toContain('CREATE TABLE s.p');
    expect(definitions).not.toContain('later');
  });

  test('schemas that the role may not read are left out and named; our own are none of the business', async () => {
    const admin = await newDatabase(server);
    const role = `owner_${randomBytes(4).toString('hex')}`;
    await sql(
      admin,
      `CREATE ROLE ${role} LOGIN PASSWORD 'p@ss:w/rd'; GRANT CREATE ON DATABASE ${new URL(admin).pathname.slice(1)} TO ${role};
       CREATE SCHEMA "clo""sed"; CREATE TABLE "clo""sed".t (a int); GRANT USAGE ON SCHEMA "clo""sed" TO ${role};
       CREATE SCHEMA snapshotd; CREATE TABLE snapshotd.account (a int)`,
    );
    const url = admin.replace(/\/\/[^@]+@/, `//${role}:${encodeURIComponent('p@ss:w/rd')}@`);
    await sql(url, 'CREATE SCHEMA s; CREATE TABLE s.t (a int)');
    const { key, leftOut } = await runBackup(store, url, ['s']);
    expect(leftOut).toEqual(['definitions of the schema clo"sed']);
    const definitions = (await DownloadedArchive.of(store, key)).read('schema.sql').toString();
    expect(definitions).toContain('CREATE TABLE s.t');
    expect(definitions).not.toMatch(/clo|account/);
  });

  test('a lock that pg_dump waits for in vain fails the attempt; it can be tried again', async () => {
    const url = await newDatabase(server);
    await sql(url, 'CREATE SCHEMA s; CREATE TABLE s.t (a int); CREATE TABLE public.busy (a int)');
    const locking = sql(url, 'BEGIN; LOCK TABLE public.busy; SELECT pg_sleep(8)').catch(() => undefined);
    const journal = new MemoryJournal();
    const failure = (await runBackup(store, url, ['s'], { journal }).catch(
      (error: unknown) => error,
    )) as Failure;
    expect(failure).toMatchObject({ code: 'DEFINITIONS_FAILED', persistence: 'transient' });
    expect(failure.sentence).toMatch(
      /^pg_dump could not read the definitions: .*LOCK TABLE public\.busy.* Mend that, or set/,
    );
    expect(
      await store.open(journal.notes.archives[0]?.key ?? '', new AbortController().signal),
    ).toBeUndefined();
    await sql(
      server,
      `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(8)%' AND pid <> pg_backend_pid()`,
    );
    await locking;
  });
});

test('a server that is newer than pg_dump: the archive says that it holds none', async () => {
  const url = await newDatabase();
  await sql(url, 'CREATE SCHEMA s; CREATE TABLE s.t (a int)');
  const { key, leftOut } = await runBackup(store, url, ['s']);
  expect(leftOut).toEqual(['definitions']);
  const { leftOut: told } = (await DownloadedArchive.of(store, key)).manifest();
  expect(told).toEqual([
    {
      what: 'definitions',
      why: expect.stringMatching(
        /^tables, indexes and functions are not included: pg_dump on PATH is of version 15\.\S+, and the server is 18\.\S+$/,
      ) as unknown,
    },
  ]);
});

test.each([
  ['auto', 'there is no pg_dump on PATH'],
  ['off', 'BACKUP_DEFINITIONS is off'],
] as const)('without a pg_dump, %s', async (definitions, reason) => {
  process.env['PATH'] = '/nonexistent';
  const url = await newDatabase(servers.debianPostgres?.url);
  await sql(url, 'CREATE SCHEMA s');
  const { key } = await runBackup(store, url, ['s'], { definitions });
  process.env['PATH'] = path;
  expect((await DownloadedArchive.of(store, key)).manifest().leftOut[0]?.why).toContain(reason);
});

test('where they are required and cannot be read, nothing is backed up', async () => {
  process.env['PATH'] = '/nonexistent';
  const url = await newDatabase();
  await sql(url, 'CREATE SCHEMA s');
  const failure = (await runBackup(store, url, ['s'], { definitions: 'required' }).catch(
    (error: unknown) => error,
  )) as Failure;
  expect(failure).toMatchObject({ code: 'DEFINITIONS_FAILED', persistence: 'permanent' });
  expect(failure.sentence).toBe(
    "Definitions cannot be read: there is no pg_dump on PATH. Install a pg_dump of the server's major version on the worker, or set BACKUP_DEFINITIONS=auto.",
  );
});
