import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { spawn } from 'node:child_process';
import pg from 'pg';
import { Failure } from '#common';
import type { RestoreRequest } from '#engine';

import { CHUNK_BYTES } from '#postgres';
import { eventually } from '../support/eventually.js';
import { MemoryJournal, runBackup, runRestore, runVerify } from '../support/heart.js';
import { newDatabase, servers, sql, storeOfTests, thorough } from '../support/servers.js';

const never = new AbortController().signal;
const store = storeOfTests();

describe('never twice', () => {
  async function restoredOnce() {
    const url = await newDatabase();
    await sql(url, 'CREATE SCHEMA s; CREATE TABLE s.t AS SELECT 1 AS a');
    const { key } = await runBackup(store, url, ['s']);
    await sql(url, 'UPDATE s.t SET a = 2');
    const journal = new MemoryJournal();
    await runRestore(store, url, ['s'], key, { journal });
    return { url, key, journal };
  }

  test('an attempt after one that had committed keeps what was written since', async () => {
    const { url, key, journal } = await restoredOnce();
    expect(journal.notes.sessions).toEqual([
      {
        name: expect.stringMatching(/^snapshotd restore 1 \w{8}$/) as unknown,
        transaction: expect.stringMatching(/^\d+$/) as unknown,
        entities: 1,
      },
    ]);
    await sql(url, 'INSERT INTO s.t VALUES (3)');
    expect(await runRestore(store, url, ['s'], key, { journal })).toMatchObject({ entities: 1 });
    expect(await sql(url, 'SELECT a FROM s.t ORDER BY a')).toEqual([{ a: 1 }, { a: 3 }]);
  });

  test('an attempt after one whose transaction was rolled back starts over', async () => {
    const { url, key } = await restoredOnce();
    const client = new pg.Client(url);
    await client.connect();
    await client.query('BEGIN');
    const { rows } = await client.query<{ xid: string }>('SELECT pg_current_xact_id()::text AS xid');
    await client.query('ROLLBACK');
    await client.end();
    await sql(url, 'INSERT INTO s.t VALUES (3)');
    const journal = new MemoryJournal();
    journal.notes = {
      archives: [],
      sessions: [{ name: 'snapshotd restore 1 0badc0de', transaction: rows[0]?.xid ?? '' }],
    };
    await runRestore(store, url, ['s'], key, { journal });
    expect(await sql(url, 'SELECT a FROM s.t')).toEqual([{ a: 1 }]);
  });

  test.each(['psql', 'snapshotd', 'snapshotd backup 12 0badc0de', 'snapshotd restore 1 0badc0de session'])(
    'a session called %j on record is not ended',
    async (name) => {
      const { url, key } = await restoredOnce();
      const other = new pg.Client({ connectionString: url, application_name: name });
      await other.connect();
      const journal = new MemoryJournal();
      journal.notes = { archives: [], sessions: [{ name }] };
      const refused = { code: 'NOT_AUTHENTIC', message: expect.stringContaining(`the session "${name}"`) };
      await expect(runRestore(store, url, ['s'], key, { journal })).rejects.toMatchObject(refused);
      await expect(runVerify(store, url, ['s'], key, { journal })).rejects.toMatchObject(refused);
      expect((await other.query('SELECT 1 AS alive')).rows).toEqual([{ alive: 1 }]);
      await other.end();
    },
  );

  test('the session of an attempt that only seemed dead is ended first', async () => {
    const { url, key } = await restoredOnce();
    const frozen = new pg.Client({ connectionString: url, application_name: 'snapshotd restore 1 f0f0f0f0' });
    const ended = new Promise((resolve) => frozen.on('error', resolve));
    await frozen.connect();
    await frozen.query('BEGIN; TRUNCATE s.t');
    const { rows } = await frozen.query<{ xid: string }>('SELECT pg_current_xact_id()::text AS xid');
    const journal = new MemoryJournal();
    journal.notes = {
      archives: [],
      sessions: [{ name: 'snapshotd restore 1 f0f0f0f0', transaction: rows[0]?.xid ?? '' }],
    };
    await runRestore(store, url, ['s'], key, { journal });
    await ended;
    expect(await sql(url, 'SELECT a FROM s.t')).toEqual([{ a: 1 }]);
  });
});

describe('of the safety archives that attempts of one restore make', () => {
  async function begun() {
    const url = await newDatabase();
    await sql(url, 'CREATE SCHEMA s; CREATE TABLE s.t AS SELECT 1 AS a');
    const { key } = await runBackup(store, url, ['s']);
    const journal = new MemoryJournal();
    const attempt = (more: Partial<RestoreRequest> = {}) =>
      runRestore(store, url, ['s'], key, { journal, backupFirst: true, ...more });
    const kept = async () => {
      const keys = journal.notes.archives.map((archive) => archive.key);
      const objects = await Promise.all(keys.map((one) => store.open(one, never)));
      return keys.filter((_key, index) => objects[index] !== undefined);
    };
    return { journal, attempt, kept };
  }

  test('the last is kept and named, also when all of them fail', async () => {
    const { journal, attempt, kept } = await begun();
    const failing = () => {
      const stop = new AbortController();
      journal.onReport = ({ message }) =>
        message.startsWith('Waiting for table locks') &&
        stop.abort(new Failure('TABLE_LOCKED', 'transient', ''));
      return attempt({ signal: stop.signal });
    };
    const named: unknown[] = [];
    for (const run of [failing, failing, attempt]) {
      await run().catch((error: unknown) => expect(error).toMatchObject({ code: 'TABLE_LOCKED' }));
      named.push(journal.notes.safetyKey);
      expect(await kept()).toEqual([journal.notes.safetyKey]);
      journal.onReport = () => {};
    }
    expect(new Set(named).size).toBe(3);
  });

  test('one that its attempt could not record is recorded by the next, which does only that', async () => {
    const { journal, attempt, kept } = await begun();
    const note = journal.note.bind(journal);
    journal.note = async (change) => {
      if (change.safetyKey !== undefined) throw new Failure('WORKER_LOST_LOCK', 'transient', '');
      await note(change);
    };
    await expect(attempt()).rejects.toMatchObject({ code: 'WORKER_LOST_LOCK' });
    expect(journal.notes.safetyKey).toBeUndefined();
    journal.note = note;
    const endAfterSettling = new Failure('TERMINATED', 'permanent', '');
    await expect(attempt({ endAfterSettling })).rejects.toBe(endAfterSettling);
    expect(journal.notes.safetyKey).toMatch(/BackupDaemonJob/);
    expect(await kept()).toEqual([journal.notes.safetyKey]);
  });
});

test('a restore that is killed at any moment leaves the repository as it was, or restored', async () => {
  const url = await newDatabase();
  await sql(
    url,
    'CREATE SCHEMA s; CREATE TABLE s.a AS SELECT i, repeat(md5(i::text), 9) AS t FROM generate_series(1, 120000) i; CREATE TABLE s.b AS TABLE s.a; CREATE SEQUENCE s.q',
  );
  const { key } = await runBackup(store, url, ['s'], { chunkBytes: CHUNK_BYTES });
  const counts = async () =>
    (
      await sql(
        url,
        'SELECT (SELECT count(*) FROM s.a) AS a, (SELECT count(*) FROM s.b) AS b, (SELECT is_called FROM s.q) AS q',
      )
    )[0];
  const spoil = () => sql(url, "DELETE FROM s.a WHERE i > 5; SELECT nextval('s.q')");
  const begin = async () => {
    const child = spawn(
      process.execPath,
      ['--no-warnings', '-e', RESTORING_PROCESS, url, servers.s3.endpoint, key],
      {
        env: { ...process.env, ...servers.s3.credentials },
        stdio: ['ignore', 'pipe', 'inherit'],
      },
    );
    const exit = once(child, 'exit');
    await once(child.stdout, 'data'); // It is connected.
    return { child, exit };
  };
  await spoil();
  const before = await counts();
  const { exit: undisturbed } = await begin();
  const began = performance.now();
  expect(await undisturbed).toEqual([0, null]);
  const length = performance.now() - began;
  await spoil();
  const outcomes: string[] = [];
  const rowsOnTheirWay = async () => {
    const [progress] = await sql<{ rows: string }>(
      url,
      'SELECT coalesce(sum(tuples_processed), 0) AS rows FROM pg_stat_progress_copy',
    );
    return Number(progress?.rows);
  };
  let inMidLoad = 0;
  const moments = thorough ? 20 : 4;
  for (let moment = 0; moment < moments; moment++) {
    const { child, exit } = await begin();
    // Every other one is killed as soon as rows are on their way, whatever the speed of the machine.
    if (moment % 2 === 1) while (child.exitCode === null && (await rowsOnTheirWay()) === 0);
    else await Promise.race([exit, sleep((length * moment) / moments)]);
    if (child.exitCode === null && (await rowsOnTheirWay()) > 0) inMidLoad++;
    child.kill('SIGKILL');
    await exit;
    // The server notices the broken connection, and rolls back, at its next write at the latest.
    await eventually(
      async () =>
        (
          await sql(
            url,
            "SELECT FROM pg_stat_activity WHERE application_name LIKE 'snapshotd restore%' AND datname = current_database()",
          )
        ).length === 0,
    );
    const after = await counts();
    outcomes.push(JSON.stringify(after) === JSON.stringify(before) ? 'as it was' : JSON.stringify(after));
    if (outcomes.at(-1) !== 'as it was') await spoil();
  }
  const restored = JSON.stringify({ a: '120000', b: '120000', q: false });
  expect(outcomes.filter((outcome) => outcome !== 'as it was' && outcome !== restored)).toEqual([]);
  // Kills while rows were on their way are what this is about.
  expect(inMidLoad).toBeGreaterThan(moments / 6);
}, 600_000);

/** Runs the built engine in a separate process, which can be killed. */
const RESTORING_PROCESS = `
  const { restore } = require('./dist/libs/engine');
  const { ObjectStore } = require('./dist/libs/storage');
  const { scopeOf, Secret } = require('./dist/libs/config');
  const [url, endpoint, key] = process.argv.slice(1);
  const store = new ObjectStore({ bucket: 'archives', prefix: '', region: 'us-east-1', endpoint, forcePathStyle: true, checksums: 'when_required', retryForMs: 0, maxParts: 10_000, partBytes: 8 * 1024 * 1024 });
  let notes = { archives: [], sessions: [] };
  const journal = { report: ({ message }) => message.startsWith('Waiting') && console.log(message), get notes() { return notes; }, note: async (change) => { notes = { ...notes, ...change }; } };
  restore({ daemonId: '1', version: '0', repository: { url: new Secret(url), scope: scopeOf(['s']), retryForMs: 0, lockTimeoutMs: 60000 }, store, keyPrefix: '', compressionLevel: 1, journal, finishLater: () => {}, signal: new AbortController().signal, key, allowExtraTables: false, fireEventTriggers: false, backupFirst: false })
    .then(() => process.exit(0), (error) => { console.error(error); process.exit(1); });`;
