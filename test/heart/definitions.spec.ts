import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import type { Failure } from '#common';
import type { ObjectStore } from '#storage';
import { DownloadedArchive } from '../support/archive.js';
import { MemoryJournal, runBackup, runRestore, runVerify } from '../support/heart.js';
import {
  newDatabase,
  newOwnedDatabase,
  oneOf,
  openStore,
  postgresMajors,
  seed,
  servers,
  sql,
} from '../support/servers.js';
import { pgDump, stateOf } from '../support/state.js';
import { expectListed, objectsOf } from '../support/statement-list.js';

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

  test('a lost database is rebuilt from the archive alone', async () => {
    const url = await newDatabase(server);
    await sql(url, SCHEMA);
    const before = await stateOf(url, ['s', 'other']);
    const dump = await pgDump(url, ['s', 'other']);
    const { key, omissions } = await runBackup(store, url, ['s'], { definitions: 'auto' });
    expect(omissions).toEqual([]);
    await runVerify(store, url, ['s'], key);
    const archive = await DownloadedArchive.of(store, key);
    archive.test();
    expect(archive.entries()).toEqual([
      'data/s.c/000001.csv',
      'data/s.p/000001.csv',
      'database.sql',
      'schema.sql',
      'roles.sql',
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
    const { key } = await runBackup(store, url, ['s'], { journal, definitions: 'auto' });
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
       CREATE SCHEMA "clo""sed"; CREATE TABLE "clo""sed".t (a int);
       CREATE DOMAIN "clo""sed".d AS int; GRANT USAGE ON SCHEMA "clo""sed" TO ${role};
       CREATE SCHEMA snapshotd; CREATE TABLE snapshotd.migrations (id int, timestamp int, name text)`,
    );
    const url = admin.replace(/\/\/[^@]+@/, `//${role}:${encodeURIComponent('p@ss:w/rd')}@`);
    await sql(url, 'CREATE SCHEMA s; CREATE TABLE s.t (a "clo""sed".d)');
    // A table of the repository needs a type of the schema, and the role may not read the schema's own table.
    const { key, omissions } = await runBackup(store, url, ['s'], { definitions: 'auto' });
    expect(omissions).toContain('definitions of the schema clo"sed');
    const definitions = (await DownloadedArchive.of(store, key)).read('schema.sql').toString();
    expect(definitions).toContain('CREATE TABLE s.t');
    expect(definitions).not.toMatch(/CREATE SCHEMA "clo|DOMAIN|migrations/);
  });

  /** A table outside the repository that another session keeps locked while something is done. */
  async function whileLocked<Result>(
    url: string,
    table: string,
    work: () => Promise<Result>,
  ): Promise<Result> {
    const holder = new pg.Client({ connectionString: url, application_name: 'a migration' });
    await holder.connect();
    try {
      await holder.query(`BEGIN; LOCK TABLE ${table}`);
      return await work();
    } finally {
      await holder.end();
    }
  }

  test('a lock elsewhere costs the archive the definitions of that table and of its dependents', async () => {
    const { admin, url } = await newOwnedDatabase(server);
    await sql(url, 'CREATE SCHEMA s; CREATE TABLE s.t AS SELECT 1 AS a');
    // The role may not lock the table itself.
    await sql(
      admin,
      `CREATE SCHEMA junk; CREATE TABLE junk.t (a int PRIMARY KEY); CREATE VIEW s.v AS SELECT a FROM junk.t;
       CREATE TABLE s.c (a int REFERENCES junk.t); GRANT SELECT ON ALL TABLES IN SCHEMA s TO PUBLIC; COMMENT ON VIEW s.v IS 'c'`,
    );
    const { key, omissions, entities } = await whileLocked(admin, 'junk.t', () =>
      runBackup(store, url, ['s'], { definitions: 'required' }),
    );
    expect(entities).toBe(1);
    expect(omissions).toEqual(expect.arrayContaining(['the definition of junk.t', 'the definition of s.v']));
    const definitions = (await DownloadedArchive.of(store, key)).read('schema.sql').toString();
    expect(definitions).toContain('CREATE TABLE s.t');
    expect(definitions).toContain('CREATE TABLE s.c');
    expect(definitions).not.toMatch(/junk|s\.v/);
  });

  test('a locked table of the repository fails the backup, which names the holder', async () => {
    const url = await newDatabase(server);
    await sql(url, 'CREATE SCHEMA s; CREATE TABLE s.t (a int)');
    const refused = await whileLocked(url, 's.t', () =>
      runBackup(store, url, ['s'], { lockWaitMs: 300 }).catch((error: unknown) => error),
    );
    expect(refused).toMatchObject({ code: 'TABLE_LOCKED', persistence: 'permanent' });
    expect((refused as Failure).message).toMatch(
      /^The backup waited 0\.3 seconds \(LOCK_WAIT_SECONDS\) for table s\.t, which is locked by a migration \(pid \d+, role \w+, idle in transaction\)\.$/,
    );
  });

  test('a pg_dump that fails after it has written its text leaves no part of that in the archive', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'snapshotd-pg-dump-'));
    const program = join(folder, 'pg_dump');
    writeFileSync(
      program,
      `#!/bin/sh\n${servers.debianPostgres?.binaries}/pg_dump "$@"\n[ "$1" = --version ] || { echo 'pg_dump: error: out of luck' >&2; exit 3; }\n`,
    );
    chmodSync(program, 0o755);
    process.env['PATH'] = `${folder}:${path}`;
    const url = await newDatabase(server);
    await sql(url, SCHEMA);
    const { key, omissions } = await runBackup(store, url, ['s'], { definitions: 'auto' });
    expect(omissions[0]).toBe('definitions');
    const archive = await DownloadedArchive.of(store, key);
    expect(archive.entries()).not.toContain('schema.sql');
    expect(archive.manifest().leftOut[0]?.why).toBe(
      'tables, indexes and functions are not included: pg_dump failed to read the schema definitions: out of luck.',
    );
    await expect(runBackup(store, url, ['s'], { definitions: 'required' })).rejects.toMatchObject({
      code: 'DEFINITIONS_FAILED',
      message: 'pg_dump failed to read the schema definitions: out of luck.',
    });
    rmSync(folder, { recursive: true });
  });

  test('more unreadable schemas than fit into arguments by name', async () => {
    const { admin, url } = await newOwnedDatabase(server);
    await sql(url, 'CREATE SCHEMA s; CREATE TABLE s.t (a int)');
    for (let thousand = 0; thousand < 26; thousand++)
      await sql(
        admin,
        `DO $$ BEGIN FOR i IN 1..1000 LOOP
           EXECUTE format('CREATE SCHEMA %I', 'the "tenants" of this company, number ' || lpad((${thousand} * 1000 + i)::text, 25, '0'));
         END LOOP; END $$`,
      );
    const { key, omissions } = await runBackup(store, url, ['s'], { definitions: 'required' });
    expect(omissions).toEqual([]);
    const text = (await DownloadedArchive.of(store, key)).read('schema.sql').toString();
    expect(text).toContain('CREATE TABLE s.t');
    expect(text).not.toContain('tenants');
  });

  test("variables of the worker's environment do not lead pg_dump elsewhere", async () => {
    const url = await newDatabase(server);
    await sql(url, 'CREATE SCHEMA s; CREATE TABLE s.t (a int)');
    const variables = {
      PGHOSTADDR: '192.0.2.1',
      PGSERVICE: 'nowhere',
      PGSSLCERT: '/nonexistent',
      PGCHANNELBINDING: 'require',
      PGGSSENCMODE: 'require',
      PGCLIENTENCODING: 'LATIN1',
    };
    Object.assign(process.env, variables);
    try {
      const { key, omissions } = await runBackup(store, url, ['s'], { definitions: 'required' });
      expect(omissions).toEqual([]);
      expect((await DownloadedArchive.of(store, key)).read('schema.sql').toString()).toContain(
        "SET client_encoding = 'UTF8'",
      );
    } finally {
      for (const name of Object.keys(variables)) delete process.env[name];
    }
  });
});

test('off, the archive says that it holds none', async () => {
  const url = await newDatabase();
  await sql(url, 'CREATE SCHEMA s');
  const { key } = await runBackup(store, url, ['s'], { definitions: 'off' });
  expect((await DownloadedArchive.of(store, key)).manifest().leftOut[0]?.why).toContain(
    'BACKUP_DEFINITIONS is off',
  );
});

/** A text of a dump, pasted into others. */
const PASTED = `
-- Name: other; Type: TABLE; Schema: s; Owner: -
\\restrict word
\\connect other
SET transaction_timeout = 0;`;

const NASTY = `
  CREATE SCHEMA s; CREATE TABLE s.p (id serial PRIMARY KEY, "Größe; ""x""" text DEFAULT E'a\\';\\n');
  CREATE TABLE s.c (p int REFERENCES s.p) PARTITION BY LIST (p); CREATE TABLE s.c1 PARTITION OF s.c FOR VALUES IN (1);
  ALTER TABLE s.p ALTER COLUMN id SET (n_distinct = 5);
  CREATE FUNCTION s.pasted() RETURNS text LANGUAGE sql AS $$ SELECT '${PASTED}' $$;
  CREATE FUNCTION s.begin(int) RETURNS SETOF int BEGIN ATOMIC SELECT CASE WHEN $1 > 0 THEN 1 END; SELECT 2; END;
  CREATE RULE r AS ON DELETE TO s.p DO ALSO (NOTIFY a; NOTIFY b);
  COMMENT ON TABLE s.p IS '${PASTED}';
  CREATE TABLE s."a ""b${PASTED}" (a int); CREATE PROCEDURE s."p; Type: ACL; Schema: s; Owner: x"() LANGUAGE sql AS '';
  CREATE INDEX ON s.c (p); GRANT SELECT ON s.c TO PUBLIC;
  CREATE MATERIALIZED VIEW s.m AS SELECT count(*) FROM s.p;
  CREATE FOREIGN DATA WRAPPER "w;1"; CREATE SERVER elsewhere FOREIGN DATA WRAPPER "w;1" OPTIONS (host 'h');
  CREATE USER MAPPING FOR CURRENT_USER SERVER elsewhere OPTIONS (user 'kept', password 'secret word');
  CREATE SUBSCRIPTION sub CONNECTION 'host=nowhere password=''secret word''' PUBLICATION p
    WITH (connect = false, slot_name = NONE)`;

describe.each(oneOf(postgresMajors, seed))('without a pg_dump, on %s,', (_title, server) => {
  beforeEach(() => {
    process.env['PATH'] = '/nonexistent';
  });
  const definitionsOf = async (url: string) => {
    const { key, omissions } = await runBackup(store, url, '*', { definitions: 'required' });
    const archive = await DownloadedArchive.of(store, key);
    process.env['PATH'] = path; // For unzip.
    const text = archive.read('schema.sql').toString();
    const database = archive.read('database.sql').toString();
    const { definitions } = archive.manifest();
    process.env['PATH'] = '/nonexistent';
    return { text, database, omissions, definitions };
  };

  test('an archive makes an empty database that has equal definitions, without passwords', async () => {
    const [url, empty] = [await newDatabase(server), await newDatabase(server)];
    await sql(url, NASTY);
    await sql(url, `ALTER DATABASE ${new URL(url).pathname.slice(1)} SET work_mem = '5MB'`);
    process.env['PATH'] = `${servers.debianPostgres?.binaries}:${path}`;
    const native = server === servers.debianPostgres?.url ? await definitionsOf(url) : undefined;
    process.env['PATH'] = '/nonexistent';
    const { text, omissions, definitions, ...dumped } = await definitionsOf(url);
    await sql(url, 'DROP SUBSCRIPTION sub');
    expect(text).not.toContain('secret');
    expect(omissions).toEqual(
      expect.arrayContaining([
        expect.stringMatching(/^options of the user mapping of \S+ for the server elsewhere$/),
        'the connection of the subscription sub',
      ]),
    );
    expect(text.split('\n\\restrict word\n')).toHaveLength(3);
    // Versions of pg_dump differ in these words.
    const common = (one: string) =>
      one
        .replace(/^-- Dumped .*\n/gm, '')
        .replace(/\n{2,}/g, '\n')
        .replace(/^ALTER (TABLE|SEQUENCE|VIEW|MATERIALIZED VIEW)(?= \S+ OWNER TO)/gm, 'ALTER …')
        .replace(', streaming = off', '');
    if (native !== undefined) {
      expect(common(text)).toBe(common(native.text));
      expect(common(dumped.database)).toBe(common(native.database));
      expect(objectsOf(definitions)).toEqual(objectsOf(native.definitions));
    }
    expect(text).not.toMatch(/^-- (TOC|Dependencies|Started|Completed)/m);
    expect(dumped.database).toContain(
      `ALTER DATABASE ${new URL(url).pathname.slice(1)} SET work_mem TO '5MB'`,
    );
    await expectListed(url, text, definitions);

    await sql(empty, text);
    const again = await definitionsOf(empty);
    await sql(empty, 'DROP SUBSCRIPTION sub');
    expect(again.text).toBe(text);
  });

  test('an archive names the subscriptions and the options that pg_dump does not read for the role', async () => {
    const { admin, url, role } = await newOwnedDatabase(server);
    await sql(
      admin,
      `CREATE SUBSCRIPTION sub CONNECTION 'host=nowhere' PUBLICATION p WITH (connect = false, slot_name = NONE);
       CREATE FOREIGN DATA WRAPPER w; CREATE SERVER elsewhere FOREIGN DATA WRAPPER w; GRANT USAGE ON FOREIGN SERVER elsewhere TO ${role};
       CREATE USER MAPPING FOR PUBLIC SERVER elsewhere OPTIONS (user 'hidden'); CREATE USER MAPPING FOR ${role} SERVER elsewhere OPTIONS (user 'seen')`,
    );
    const { omissions, text } = await definitionsOf(url);
    await sql(admin, 'DROP SUBSCRIPTION sub');
    expect(omissions).toEqual([
      'the subscription sub',
      'options of the user mapping of public for the server elsewhere',
    ]);
    expect(text).toContain(`"user" 'seen'`);
  });

  test('a lock elsewhere costs the archive that definition, and the session that waits for it ends', async () => {
    const url = await newDatabase(server);
    await sql(
      url,
      'CREATE SCHEMA s; CREATE SCHEMA junk; CREATE TABLE junk.t (a int); CREATE VIEW s.v AS SELECT FROM junk.t',
    );
    const untilThereWait = async (count: number) => {
      for (;;) {
        const waiting = await sql(
          url,
          `SELECT FROM pg_stat_activity WHERE datname = current_database()
             AND application_name LIKE '%definitions' AND wait_event_type = 'Lock'`,
        );
        if (waiting.length === count) return;
        await sleep(50);
      }
    };
    const holder = new pg.Client({ connectionString: url, application_name: 'a migration' });
    await holder.connect();
    await holder.query('BEGIN; LOCK TABLE junk.t');
    const stop = new AbortController();
    const stopped = runBackup(store, url, ['s'], { signal: stop.signal, definitions: 'required' });
    const refused = expect(stopped).rejects.toThrow('no longer wanted');
    await untilThereWait(1);
    stop.abort(new Error('no longer wanted'));
    await refused;
    await untilThereWait(0);

    const { key } = await runBackup(store, url, ['s'], { daemonId: '2', definitions: 'auto' });
    await untilThereWait(0);
    await holder.end();
    process.env['PATH'] = path;
    expect((await DownloadedArchive.of(store, key)).manifest().leftOut).toContainEqual(
      expect.objectContaining({ what: 'the definition of junk.t' }),
    );
  });
});
