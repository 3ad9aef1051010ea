import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Session } from '#postgres';
import { EmbeddedPostgres } from '../../dev/index.js';
import { DownloadedArchive } from '../support/archive.js';
import { eventually } from '../support/eventually.js';
import { runBackup, runRestore, runVerify } from '../support/heart.js';
import { openStore, servers, sql } from '../support/servers.js';
import { StatementProxy } from '../support/statement-proxy.js';

const DEFINITIONS = `
  CREATE SCHEMA s;
  CREATE TABLE s.t (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v text);
  INSERT INTO s.t (v) SELECT repeat('x', 100) FROM generate_series(1, 5000);
  CREATE UNLOGGED TABLE s.scratch (id int GENERATED ALWAYS AS IDENTITY, v text);
  INSERT INTO s.scratch (v) VALUES ('lost with a crash');
  ANALYZE s.t`;

const majors: [string, string | undefined][] = [['the embedded PostgreSQL', undefined]];
if (servers.debianPostgres) majors.push(["Debian's PostgreSQL", servers.debianPostgres.binaries]);

describe.each(majors)('a standby of %s', (_title, binaries) => {
  let primary: EmbeddedPostgres;
  let standby: EmbeddedPostgres;
  const store = openStore(servers.s3);
  const folder = join(servers.folder, `primary-${randomBytes(4).toString('hex')}`);
  const options = { durable: false, ...(binaries !== undefined && { binaries }) };

  beforeAll(async () => {
    primary = await EmbeddedPostgres.start({ ...options, folder });
    await sql(primary.url(), DEFINITIONS);
    const { port } = primary;
    await primary.stop();
    execFileSync('cp', ['-a', folder, `${folder}-standby`]);
    writeFileSync(join(`${folder}-standby`, 'data', 'standby.signal'), '');
    primary = await EmbeddedPostgres.start({ ...options, folder, port });
    const { username, password } = new URL(primary.url());
    standby = await EmbeddedPostgres.start({
      ...options,
      folder: `${folder}-standby`,
      settings: {
        primary_conninfo: `host=127.0.0.1 port=${port} user=${username} password=${password}`,
        wal_retrieve_retry_interval: '100ms',
      },
    });
  });
  afterAll(async () => {
    store.close();
    await standby?.stop();
    await primary?.stop();
  });

  /** Waits until the standby has replayed everything that the primary has committed so far. */
  async function hasCaughtUp(): Promise<void> {
    const [{ lsn } = { lsn: '' }] = await sql<{ lsn: string }>(
      primary.url(),
      'SELECT pg_current_wal_insert_lsn() AS lsn',
    );
    const isThere = `SELECT pg_last_wal_replay_lsn() >= '${lsn}' AS there`;
    await eventually(async () => (await sql<{ there: boolean }>(standby.url(), isThere))[0]?.there);
  }

  test('is backed up without unlogged tables, which are named, and the primary restores the archive', async () => {
    await sql(primary.url(), "INSERT INTO s.t (v) VALUES ('newest')");
    await hasCaughtUp();
    const { key, omissions, entities } = await runBackup(store, standby.url(), ['s'], {
      definitions: 'required',
    });
    expect(entities).toBe(5001);
    expect(omissions.filter((what) => what.includes('scratch'))).toEqual([
      'rows of s.scratch',
      'the state of the sequence s.scratch_id_seq',
    ]);
    const archive = await DownloadedArchive.of(store, key);
    expect(archive.manifest().tables.map(({ name }) => name)).toEqual(['t']);

    await sql(primary.url(), 'DELETE FROM s.t');
    // It belongs to the primary, so it is left alone there.
    await expect(runRestore(store, primary.url(), ['s'], key)).rejects.toThrow('s.scratch');
    await runRestore(store, primary.url(), ['s'], key, { allowExtraTables: true, otherDatabase: false });
    expect(await sql(primary.url(), 'SELECT count(*)::int AS rows, max(id) AS last FROM s.t')).toEqual([
      { rows: 5001, last: 5001 },
    ]);
    expect(await sql(primary.url(), 'SELECT v FROM s.scratch')).toEqual([{ v: 'lost with a crash' }]);
    await sql(primary.url(), "INSERT INTO s.t (v) VALUES ('after')");
    // The log runs up to 32 numbers ahead of a sequence.
    const [after] = await sql<{ id: number }>(primary.url(), "SELECT id FROM s.t WHERE v = 'after'");
    expect(after?.id).toBeGreaterThan(5001);

    await hasCaughtUp();
    const standbyOnly = { code: 'SERVER_IS_STANDBY', hint: expect.stringContaining('primary') as unknown };
    await expect(runRestore(store, standby.url(), ['s'], key)).rejects.toMatchObject(standbyOnly);
    await expect(runVerify(store, standby.url(), ['s'], key)).rejects.toMatchObject(standbyOnly);
  });

  test('is not blamed for transactions that conflict on the primary', async () => {
    const session = await Session.open(primary.url(), { applicationName: 'test' });
    try {
      await session.query('BEGIN ISOLATION LEVEL REPEATABLE READ');
      await session.query('SELECT count(*) FROM s.t');
      await sql(primary.url(), "UPDATE s.t SET v = 'changed' WHERE id = 1");
      const conflict = session.query('DELETE FROM s.t WHERE id = 1');
      await expect(conflict).rejects.toMatchObject({ persistence: 'transient', hint: undefined });
      await expect(conflict).rejects.toThrow('40001');
    } finally {
      await session.close();
    }
  });

  test('whose replay cancels a backup: the failure says what to set', async () => {
    await sql(standby.url(), 'ALTER SYSTEM SET max_standby_streaming_delay = 0');
    await sql(standby.url(), 'SELECT pg_reload_conf()');
    const proxy = await StatementProxy.to(standby.url());
    let cut: Promise<void> | undefined;
    proxy.before = async ({ sql: statement }) => {
      if (cut !== undefined || !statement.includes('COPY')) return;
      cut = sql(primary.url(), 'TRUNCATE s.t').then(hasCaughtUp);
      await cut;
    };
    try {
      await expect(runBackup(store, proxy.url, ['s'])).rejects.toMatchObject({
        persistence: 'transient',
        hint: expect.stringContaining('hot_standby_feedback') as unknown,
      });
      expect(cut).toBeDefined();
    } finally {
      // The servers stop after the last question to them.
      await cut;
      await proxy.close();
    }
  });
});
