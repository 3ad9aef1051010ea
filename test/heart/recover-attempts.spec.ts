import { once } from 'node:events';
import { execFileSync, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { Failure } from '#common';
import { createTemporaryDatabase, dropAbandonedDatabases, Session, temporaryDatabaseName } from '#postgres';
import { eventually } from '../support/eventually.js';
import { MemoryJournal, runBackup, runDrill, runRecover } from '../support/heart.js';
import { OwnServer } from '../support/own-server.js';
import { newDatabase, servers, sql, storeOfTests, thorough } from '../support/servers.js';

const store = storeOfTests();
const binaries = servers.debianPostgres?.binaries;
let source: string;
let key: string;
let server: OwnServer;

beforeAll(async () => {
  // The pg_dump of the same version is faster than the bundled one.
  if (binaries !== undefined) process.env['PATH'] = `${binaries}:${process.env['PATH']}`;
  source = await newDatabase(servers.debianPostgres?.url);
  await sql(
    source,
    `CREATE SCHEMA s;
     CREATE TABLE s.a (id int PRIMARY KEY, h bytea);
     INSERT INTO s.a SELECT i, sha512(i::text::bytea) FROM generate_series(1, 30000) i;
     CREATE TABLE s.b (id int PRIMARY KEY, a int REFERENCES s.a, t text);
     INSERT INTO s.b SELECT i, i, 'text ' || i FROM generate_series(1, 30000) i;
     CREATE INDEX ON s.b (t);
     CREATE MATERIALIZED VIEW s.m AS SELECT count(*) AS n FROM s.b`,
  );
  ({ key } = await runBackup(store, source, '*', { definitions: 'required' }));
  server = await OwnServer.postgres({ binaries });
});
afterAll(() => server?.stop());

/** The databases that are not the server's own. */
async function databases(): Promise<string[]> {
  const rows = await sql<{ name: string }>(
    server.url,
    `SELECT datname AS name FROM pg_database WHERE datname NOT IN ('postgres', 'template0', 'template1') ORDER BY 1`,
  );
  return rows.map(({ name }) => name).filter((name) => name !== new URL(server.url).pathname.slice(1));
}

async function sessionsOfUnfinished(): Promise<number> {
  const rows = await sql(
    server.url,
    "SELECT FROM pg_stat_activity WHERE starts_with(datname, 'snapshotd_recover_') OR application_name = 'snapshotd recover'",
  );
  return rows.length;
}

async function contents(url: string): Promise<unknown> {
  return sql(
    url,
    `SELECT (SELECT count(*) FROM s.a)::int AS a, (SELECT sum(hashtextextended(b::text, 0)) FROM s.b b)::text AS b, (SELECT n::int FROM s.m) AS m`,
  );
}

function urlOf(database: string): string {
  const url = new URL(server.url);
  url.pathname = `/${database}`;
  return url.href;
}

async function expectComplete(database: string): Promise<void> {
  expect(await databases()).toEqual([database]);
  expect(await contents(urlOf(database))).toEqual(await contents(source));
  await sql(server.url, `DROP DATABASE ${database}`);
}

test('an aborted recover leaves nothing behind, whenever it is aborted', async () => {
  const messages: string[] = [];
  const journal = new MemoryJournal();
  journal.onReport = ({ message }) => messages.push(message);
  await runRecover(store, server.url, key, 'undisturbed', { journal });
  await expectComplete('undisturbed');
  // Each kind of step once.
  const steps = [...new Set(messages.map((message) => message.replace(/\d+/g, 'n')))];
  expect(steps.length).toBeGreaterThan(6);
  for (const step of steps) {
    const stop = new AbortController();
    const reason = new Failure('TERMINATED', 'permanent', 'Terminated.');
    const disturbed = new MemoryJournal();
    disturbed.onReport = ({ message }) => message.replace(/\d+/g, 'n') === step && stop.abort(reason);
    await expect(
      runRecover(store, server.url, key, 'aborted', { journal: disturbed, signal: stop.signal }),
    ).rejects.toMatchObject({ code: 'TERMINATED' });
    expect({ step, left: await databases() }).toEqual({ step, left: [] });
  }
});

test('a database under construction is not abandoned, whichever database its recover has connected to first', async () => {
  const { signal } = new AbortController();
  await sql(server.url, 'CREATE DATABASE elsewhere');
  const open = (url: string) => Session.open(url, { applicationName: 'snapshotd recover test', signal });
  const [building, cleaning] = [await open(server.url), await open(urlOf('elsewhere'))];
  const name = temporaryDatabaseName();
  try {
    await createTemporaryDatabase(building, name, { encoding: 'UTF8', locale: 'C' });
    expect(await dropAbandonedDatabases(cleaning)).toEqual({ dropped: [], inUse: [name] });
    await building.query('SELECT pg_advisory_unlock_all()');
    expect(await dropAbandonedDatabases(cleaning)).toEqual({ dropped: [name], inUse: [] });
  } finally {
    await building.close();
    await cleaning.close();
  }
  await sql(server.url, 'DROP DATABASE elsewhere');
});

test('an existing database is not touched', async () => {
  await sql(server.url, 'CREATE DATABASE mine');
  await sql(urlOf('mine'), 'CREATE TABLE t AS SELECT 1 AS a');
  await expect(runRecover(store, server.url, key, 'mine')).rejects.toMatchObject({
    code: 'TARGET_REFUSED',
    message: expect.stringContaining('mine') as unknown,
  });
  expect(await sql(urlOf('mine'), 'SELECT a FROM t')).toEqual([{ a: 1 }]);
  await sql(server.url, 'DROP DATABASE mine');
});

test('an abort while PostgreSQL creates the database leaves none behind', async () => {
  const CREATING = `SELECT FROM pg_stat_activity WHERE query LIKE 'CREATE DATABASE "snapshotd_recover_%' AND state = 'active'`;
  const holder = new pg.Client(server.url);
  await holder.connect();
  // CREATE DATABASE waits for its template.
  await holder.query('BEGIN; COMMENT ON DATABASE template0 IS NULL');
  try {
    const stop = new AbortController();
    const recovering = runRecover(store, server.url, key, 'aborted', { signal: stop.signal });
    const ended = expect(recovering).rejects.toThrow('stop');
    await eventually(async () => (await sql(server.url, CREATING)).length === 1);
    stop.abort(new Error('stop'));
    await ended;
    expect(await sql(server.url, CREATING)).toEqual([]);
  } finally {
    await holder.end();
  }
  expect(await databases()).toEqual([]);
});

test('a database that appears under the name meanwhile is left alone', async () => {
  const journal = new MemoryJournal();
  let creating: Promise<unknown> | undefined;
  journal.onReport = ({ message }) => {
    if (message.startsWith('Loading rows')) creating ??= sql(server.url, 'CREATE DATABASE theirs');
  };
  await expect(runRecover(store, server.url, key, 'theirs', { journal })).rejects.toMatchObject({
    code: 'TARGET_REFUSED',
    message: expect.stringContaining('theirs') as unknown,
  });
  await creating;
  expect(await databases()).toEqual(['theirs']);
  await sql(server.url, 'DROP DATABASE theirs');
});

describe('killed', () => {
  test('at any moment, it leaves no database under the name, and the next recover succeeds', async () => {
    const begin = async (database: string) => {
      const child = spawn(
        process.execPath,
        ['--no-warnings', '-e', RECOVERING_PROCESS, server.url, servers.s3.endpoint, key, database],
        { env: { ...process.env, ...servers.s3.credentials }, stdio: ['ignore', 'pipe', 'inherit'] },
      );
      const exit = once(child, 'exit');
      await once(child.stdout, 'data'); // It has begun.
      return { child, exit };
    };
    const { exit: undisturbed } = await begin('killed');
    const began = performance.now();
    expect(await undisturbed).toEqual([0, null]);
    const length = performance.now() - began;
    await expectComplete('killed');
    let unfinished = 0;
    const moments = thorough ? 20 : 4;
    for (let moment = 0; moment < moments; moment++) {
      const { child, exit } = await begin('killed');
      await Promise.race([exit, sleep((length * (moment + Math.random())) / moments)]);
      child.kill('SIGKILL');
      await exit;
      const left = await databases();
      if (left.includes('killed')) expect(await contents(urlOf('killed'))).toEqual(await contents(source));
      else unfinished++;
      for (const name of left.filter((one) => one !== 'killed'))
        expect(name).toMatch(/^snapshotd_recover_[0-9a-f]{16}$/);
      await sql(server.url, 'DROP DATABASE IF EXISTS killed');
    }
    expect(unfinished).toBeGreaterThan(0);
    // The server notices broken connections late, and a database with sessions may be in use.
    await eventually(async () => (await sessionsOfUnfinished()) === 0);
    await runRecover(store, server.url, key, 'killed');
    await expectComplete('killed');
  });

  test('its job is taken over: the unfinished database is dropped, a finished one is kept', async () => {
    const journal = new MemoryJournal();
    const frozen = new AbortController();
    journal.onReport = ({ message }) => message.startsWith('Comparing') && frozen.abort(new Error('frozen'));
    // As if the worker had died: the unfinished database stays.
    await expect(
      runRecover(store, server.url, key, 'taken', { journal, daemonId: '1', signal: frozen.signal }),
    ).rejects.toThrow('frozen');
    journal.onReport = () => {};
    const name = journal.notes.database?.name ?? '';
    await sql(server.url, `CREATE DATABASE ${name}`);
    await runRecover(store, server.url, key, 'taken', { journal, daemonId: '1' });
    expect(await databases()).toEqual(['taken']);
    await sql(urlOf('taken'), 'DELETE FROM s.b');
    const result = await runRecover(store, server.url, key, 'taken', { journal, daemonId: '1' });
    expect(result).toMatchObject({ entities: 60_000 });
    expect(await sql(urlOf('taken'), 'SELECT FROM s.b')).toEqual([]);
    await sql(server.url, 'DROP DATABASE taken');
  });

  test('notes that name a database of others are refused', async () => {
    await sql(server.url, 'CREATE DATABASE others');
    const journal = new MemoryJournal();
    journal.notes = { archives: [], sessions: [], database: { name: 'others' } };
    const recovering = runRecover(store, server.url, key, 'mine', { journal, daemonId: '1' });
    await expect(recovering).rejects.toMatchObject({ code: 'NOT_AUTHENTIC' });
    expect(await databases()).toEqual(['others']);
    await sql(server.url, 'DROP DATABASE others');
  });
});

test('PostgreSQL stops meanwhile: the recover fails, and the next one cleans up and succeeds', async () => {
  for (const step of ['Loading rows', 'Creating indexes']) {
    const journal = new MemoryJournal();
    let crashing: Promise<void> | undefined;
    journal.onReport = ({ message }) => {
      if (message.startsWith(step)) crashing ??= server.end('SIGQUIT');
    };
    await expect(runRecover(store, server.url, key, 'stopped', { journal })).rejects.toMatchObject({
      persistence: 'transient',
      message: expect.stringMatching(/snapshotd recover --clean-up drops it/) as unknown,
    });
    await crashing;
    await server.startAgain();
    expect(await databases()).toEqual([journal.notes.database?.name]);
  }
  await runRecover(store, server.url, key, 'stopped');
  await expectComplete('stopped');
});

(mayMount() ? test : test.skip)(
  'a full disk fails the recover with one sentence, and leaves nothing behind',
  async () => {
    const small = await OwnServer.postgres({ binaries });
    const [setting] = await sql<{ folder: string }>(
      small.url,
      `SELECT current_setting('data_directory') AS folder`,
    );
    const base = join(setting?.folder ?? '', 'base');
    await small.end('SIGINT');
    renameSync(base, `${base}.before`);
    mkdirSync(base);
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=36m', 'tmpfs', base]);
    try {
      execFileSync('cp', ['-a', `${base}.before/.`, base]);
      execFileSync('chown', ['--reference', `${base}.before`, base]);
      execFileSync('chmod', ['--reference', `${base}.before`, base]);
      await small.startAgain();
      await expect(runRecover(store, small.url, key, 'full')).rejects.toMatchObject({
        code: 'DATABASE_QUERY_FAILED',
        message: expect.stringMatching(
          /The disk of PostgreSQL at \S+(, loading s\.\w,)? is full: /,
        ) as unknown,
      });
      const left = await sql(
        small.url,
        `SELECT FROM pg_database WHERE datname ~ '^(snapshotd_recover|full)'`,
      );
      expect(left).toEqual([]);
    } finally {
      await small.stop();
      execFileSync('umount', ['--lazy', base]);
    }
  },
);

/** Whether this process may mount a small disk. */
function mayMount(): boolean {
  const folder = mkdtempSync(join(servers.folder, 'disk-'));
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', folder], { stdio: 'ignore' });
    execFileSync('umount', [folder]);
    return true;
  } catch {
    return false;
  }
}

test('a drill of an archive beside a recover of it: neither disturbs the other', async () => {
  const journal = new MemoryJournal();
  let drilling: Promise<unknown> | undefined;
  journal.onReport = ({ message }) => {
    if (message.startsWith('Loading rows')) drilling ??= runDrill(store, server.url, key);
  };
  await runRecover(store, server.url, key, 'beside', { journal });
  expect(await drilling).toEqual({ losses: [], notProven: [] });
  await expectComplete('beside');
});

const RECOVERING_PROCESS = `
const [url, endpoint, key, database] = process.argv.slice(1);
const { Secret } = require('./dist/libs/config');
const { ObjectStore } = require('./dist/libs/storage');
const { openArchive } = require('./dist/libs/archive');
const { recover } = require('./dist/libs/engine');
const store = new ObjectStore({ bucket: 'archives', prefix: '', region: 'us-east-1', endpoint, publicEndpoint: undefined, forcePathStyle: true, checksums: 'when_required', maxParts: 10000, partBytes: 8388608, retryForMs: 0 });
const { signal } = new AbortController();
let began = false;
const report = () => { if (!began) process.stdout.write('begun'); began = true; };
const journal = { report, notes: { archives: [], sessions: [] }, note: async () => {}, isOvertaken: async () => false };
void (async () => {
  const object = await store.find(key, signal);
  const archive = await openArchive(store.openListed(object, signal));
  await recover({ archive, maintenanceUrl: new Secret(url), database, parallelJobs: 2, applicationName: 'snapshotd recover', journal, signal });
  store.close();
})();
`;
