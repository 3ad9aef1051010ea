import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import pg from 'pg';
import { scopeOf } from '#config';
import {
  findMembers,
  listPlannable,
  listTables,
  Observer,
  readSequences,
  Session,
  takeSnapshot,
} from '#postgres';
import { DownloadedArchive } from '../support/archive.js';
import { eventually } from '../support/eventually.js';
import { MemoryJournal, runBackup, runRestore, runVerify } from '../support/heart.js';
import { OwnServer } from '../support/own-server.js';
import {
  newDatabase,
  postgresMajors,
  sample,
  servers,
  shareOf,
  sql,
  storeOfTests,
} from '../support/servers.js';

const store = storeOfTests();

const KiB = 1024;
/** The lines that functions of indexes, predicates and statistics write to the server's log, with their caller. */
const SAID = /ran as (\w+)/g;

/** A relation of a table's owner and the worker. `worker`, `owner`, `other` and `third` are replaced by roles of the test's own. */
interface Relation {
  title: string;
  /** Whether the owner gains nothing from code that runs as the worker. */
  plannable: boolean;
  /** Run by a superuser once the tables are there. */
  grants: string;
  /** Whose the functions are. */
  functionsOf?: string;
  /** Then an index that is made runs its functions as the worker. */
  tableOfWorker?: true;
}

const SELECT = 'GRANT USAGE ON SCHEMA s TO worker; GRANT SELECT ON ALL TABLES IN SCHEMA s TO worker;';

const relations: Relation[] = [
  { title: 'the worker is a superuser', plannable: false, grants: 'ALTER ROLE worker SUPERUSER' },
  {
    title: 'the worker has grants of two owners',
    plannable: false,
    grants: `${SELECT} CREATE TABLE s.more (); ALTER TABLE s.more OWNER TO other; GRANT SELECT ON s.more TO worker`,
  },
  { title: 'the worker is a member of two owners', plannable: false, grants: 'GRANT owner, other TO worker' },
  {
    title: 'the worker is a member of a member of the owner, and of another role by it',
    plannable: false,
    grants: 'GRANT owner, other TO third; GRANT third TO worker',
  },
  {
    title: 'the worker reads all data, passwords among them',
    plannable: false,
    grants: 'GRANT pg_read_all_data TO worker',
  },
  { title: 'the worker may make roles', plannable: false, grants: `${SELECT} ALTER ROLE worker CREATEROLE` },
  {
    title: 'the worker may make databases',
    plannable: false,
    grants: `${SELECT} ALTER ROLE worker CREATEDB`,
  },
  { title: 'the worker sees hidden rows', plannable: false, grants: `${SELECT} ALTER ROLE worker BYPASSRLS` },
  { title: 'the worker replicates', plannable: false, grants: `${SELECT} ALTER ROLE worker REPLICATION` },
  {
    title: 'the worker reads a table of a superuser',
    plannable: false,
    grants: `${SELECT} CREATE TABLE s.more (); GRANT SELECT ON s.more TO worker`,
  },
  {
    title: 'the worker owns something',
    plannable: false,
    grants: `${SELECT} CREATE TABLE s.more (); ALTER TABLE s.more OWNER TO worker`,
  },
  {
    title: 'the worker may set a parameter',
    plannable: false,
    grants: `${SELECT} GRANT SET ON PARAMETER log_statement TO worker`,
  },
  {
    title: 'the worker uses a foreign server',
    plannable: false,
    grants: `${SELECT} CREATE FOREIGN DATA WRAPPER w; CREATE SERVER x FOREIGN DATA WRAPPER w; CREATE USER MAPPING FOR worker SERVER x`,
  },
  {
    title: 'a superuser owns the table, with functions of somebody else',
    plannable: false,
    functionsOf: 'other',
    grants: `${SELECT} ALTER TABLE s.t OWNER TO CURRENT_USER`,
  },
  {
    title: 'the worker owns the table, with functions of somebody else',
    tableOfWorker: true,
    plannable: false,
    functionsOf: 'other',
    grants: `${SELECT} ALTER TABLE s.t OWNER TO worker`,
  },
  {
    title: 'a superuser owns the table, and another role its schema',
    plannable: false,
    grants: `${SELECT} ALTER TABLE s.t OWNER TO CURRENT_USER; ALTER SCHEMA s OWNER TO other`,
  },
  {
    title: 'a superuser owns the table',
    plannable: true,
    functionsOf: 'CURRENT_USER',
    grants: `${SELECT} ALTER TABLE s.t OWNER TO CURRENT_USER`,
  },
  {
    title: 'the worker owns the table',
    tableOfWorker: true,
    plannable: true,
    functionsOf: 'worker',
    grants: `${SELECT} ALTER TABLE s.t OWNER TO worker`,
  },
  { title: 'all that was granted to the worker is of the owner', plannable: true, grants: SELECT },
  {
    title: 'the worker is a member of the owner alone',
    plannable: true,
    grants: 'GRANT owner TO worker; GRANT USAGE ON SCHEMA s TO owner',
  },
];

const majors = postgresMajors.slice(0, 2);
const nameOf = (server: string, { title }: Relation) => `${server} ${title}`;
/** The relations whose backup is watched too; the others are only judged. */
const watched = new Set(
  sample(
    majors.flatMap(([, server]) => relations.map((one) => nameOf(server, one))),
    16,
  ),
);

describe.each(majors)('on %s', (_title, server) => {
  const log = () =>
    readFileSync(
      join(servers.folder, server === servers.postgres ? 'postgres' : 'debian', 'postgres.log'),
      'utf8',
    );

  /** A table that is read in several ranges if it may be, and functions that planning a query on it would run. */
  async function database({ grants, functionsOf = 'owner' }: Relation) {
    const url = await newDatabase(server);
    const suffix = randomBytes(4).toString('hex');
    const named = (text: string) => text.replace(/\b(worker|owner|other|third)\b/g, `$1_${suffix}`);
    const functions = ['of_index', 'of_predicate', 'of_statistics', 'of_late_index'].map(
      (name) =>
        `CREATE FUNCTION m.${name}(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS $$BEGIN RAISE LOG '${name} ran as %', current_user; RETURN 1; END$$;
         ALTER FUNCTION m.${name} OWNER TO ${functionsOf};`,
    );
    await sql(
      url,
      named(
        `CREATE ROLE worker LOGIN PASSWORD 'secret'; CREATE ROLE owner; CREATE ROLE other; CREATE ROLE third;
         CREATE SCHEMA s; GRANT USAGE ON SCHEMA s TO owner; CREATE SCHEMA m; GRANT USAGE ON SCHEMA m TO PUBLIC; ${functions.join('')}
         CREATE TABLE s.t (id int, v text) WITH (autovacuum_enabled = off); CREATE TABLE s.small (a int); CREATE SEQUENCE s.q;
         INSERT INTO s.t SELECT i, repeat('x', 200) FROM generate_series(1, 2000) i; INSERT INTO s.small VALUES (1);
         ALTER TABLE s.t OWNER TO owner; ALTER TABLE s.small OWNER TO owner; ALTER SEQUENCE s.q OWNER TO owner;
         GRANT SELECT ON s.q TO worker;
         CREATE INDEX ON s.t ((m.of_index(1))); CREATE INDEX ON s.t (id) WHERE m.of_predicate(1) = 1;
         CREATE STATISTICS s.st ON (m.of_statistics(1) + id), v FROM s.t;
         CREATE FUNCTION m.of_check(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS $$BEGIN RAISE LOG 'of_check ran as %', current_user; RETURN 1; END$$;
         ALTER FUNCTION m.of_check OWNER TO other; ALTER TABLE s.t ADD CHECK (m.of_check(1) = 1); ${grants}`,
      ),
    );
    await sql(url, `ALTER DATABASE ${new URL(url).pathname.slice(1)} SET constraint_exclusion TO on`);
    const worker = new URL(url);
    worker.username = `worker_${suffix}`;
    worker.password = 'secret';
    return { url, workerUrl: worker.href, worker: worker.username };
  }

  test.each(shareOf(relations, server))('if $title, the table is plannable: $plannable', async (relation) => {
    const { url, workerUrl, worker } = await database(relation);
    const session = await Session.open(workerUrl, { applicationName: 'test' });
    const [table] = (await listTables(session, await findMembers(session, scopeOf(['s'])))).filter(
      ({ name }) => name === 't',
    );
    if (table === undefined) throw new Error('The table is missing');
    const plannable = (await listPlannable(session, [table])).size === 1;
    await session.close();
    expect(plannable).toBe(relation.plannable);
    if (!watched.has(nameOf(server, relation))) return;

    // An index that its owner makes in the middle of the backup.
    const journal = new MemoryJournal();
    let late: Promise<unknown> | undefined;
    journal.onReport = ({ message }) => {
      if (message.startsWith('Copying s.t') && !relation.tableOfWorker)
        late ??= sql(url, 'CREATE INDEX ON s.t ((m.of_late_index(1)))');
    };
    const before = log().length;
    const { key, entities } = await runBackup(store, workerUrl, ['s'], {
      journal,
      chunkBytes: 64 * KiB,
      definitions: 'auto',
    });
    await late;
    await runVerify(store, workerUrl, ['s'], key).catch(({ code }: { code: string }) =>
      expect(code).toBe('OWNERSHIP_MISSING'),
    );
    expect(entities).toBe(2001);
    const archive = await DownloadedArchive.of(store, key);
    expect(archive.rows('s', 't')[1999]).toBe(`2000,${'x'.repeat(200)}`);

    const said = log().slice(before);
    expect(said).not.toContain(`of_check ran as ${worker}`);
    const ran = [...said.matchAll(SAID)].map(([, role]) => role);
    expect(ran.includes(worker)).toBe(relation.plannable);
  });

  test('a table that takes the place of a sequence is not read', async () => {
    const [relation] = relations;
    if (relation === undefined) throw new Error('There are no relations');
    const { url, workerUrl, worker } = await database(relation);
    const [session, observer, owner] = [
      await Session.open(workerUrl, { applicationName: 'test' }),
      await Observer.open(workerUrl, { applicationName: 'test observer' }),
      new pg.Client(url),
    ];
    await owner.connect();
    const { members } = await takeSnapshot(session, scopeOf(['s']));
    await owner.query(
      'BEGIN; DROP SEQUENCE s.q; CREATE TABLE s.q (last_value bigint, is_called boolean); CREATE INDEX ON s.q ((m.of_index(1)))',
    );
    const before = log().length;
    const reading = readSequences(session, observer, members).catch((error: unknown) => error);
    const waits = `SELECT count(*) FROM pg_locks WHERE NOT granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`;
    await eventually(async () => (await sql(url, waits))[0]?.['count'] === '1');
    await owner.query('COMMIT');
    expect(await reading).toMatchObject({ code: 'REPOSITORY_CHANGING', persistence: 'transient' });
    for (const connection of [session, observer]) await connection.close();
    await owner.end();
    expect(log().slice(before)).not.toContain(`ran as ${worker}`);
  });

  test('sequences are read that were used, set, or neither, and named where that cannot be told', async () => {
    const backedUp = async (url: string) => {
      const { key, omissions } = await runBackup(store, url, ['s']);
      const { sequences } = (await DownloadedArchive.of(store, key)).manifest();
      const states = sequences.map(({ name, lastValue, isCalled }) => [name, lastValue, isCalled]);
      return { states, omissions: omissions.filter((what) => what.includes('sequence')) };
    };
    const suffix = randomBytes(4).toString('hex');
    const url = await newDatabase(server);
    await sql(
      url,
      `CREATE SCHEMA s; CREATE SEQUENCE s.new START 7; CREATE SEQUENCE s.set; CREATE SEQUENCE s.used;
       SELECT setval('s.set', 42, false), nextval('s.used')`,
    );
    const all = [
      ['new', '7', false],
      ['set', '42', false],
      ['used', '1', true],
    ];
    expect(await backedUp(url)).toEqual({ states: all, omissions: [] });
    await sql(url, `CREATE ROLE owner_${suffix}; ALTER SEQUENCE s.set OWNER TO owner_${suffix}`);
    const [{ tells } = { tells: false }] = await sql<{ tells: boolean }>(
      url,
      `SELECT current_setting('server_version_num')::int >= 180000 AS tells`,
    );
    expect(await backedUp(url)).toEqual(
      tells
        ? { states: all, omissions: [] }
        : { states: all.with(1, ['set', '1', false]), omissions: ['the state of the sequence s.set'] },
    );
  });

  test('a schema that takes the name of another while a backup runs fails it', async () => {
    const url = await newDatabase(server);
    await sql(
      url,
      `CREATE SCHEMA s; CREATE TABLE s.a AS SELECT 1 AS id; CREATE TABLE s.b AS SELECT repeat('x', 2000) FROM generate_series(1, 500);
       CREATE SCHEMA green; CREATE TABLE green.a AS SELECT 2 AS id; CREATE TABLE green.b (repeat text)`,
    );
    const journal = new MemoryJournal();
    journal.onReport = ({ message }) => {
      if (!message.startsWith('Copying s.')) return;
      journal.onReport = () => undefined;
      runAtOnce(url, 'ALTER SCHEMA s RENAME TO blue; ALTER SCHEMA green RENAME TO s');
    };
    const failing = runBackup(store, url, ['s'], { journal, parallelJobs: 1 });
    await expect(failing).rejects.toMatchObject({ code: 'REPOSITORY_CHANGING', persistence: 'transient' });
  });

  test('a schema that takes the name of another before a restore writes gets no rows', async () => {
    const url = await newDatabase(server);
    await sql(
      url,
      'CREATE SCHEMA s; CREATE TABLE s.a AS SELECT 1 AS id; CREATE SCHEMA green; CREATE TABLE green.a (id int)',
    );
    const { key } = await runBackup(store, url, ['s']);
    const journal = new MemoryJournal();
    const note = journal.note.bind(journal);
    journal.note = async (change) => {
      await note(change);
      if (change.sessions?.some(({ transaction }) => transaction !== undefined))
        await sql(url, 'ALTER SCHEMA s RENAME TO blue; ALTER SCHEMA green RENAME TO s');
    };
    const failing = runRestore(store, url, ['s'], key, { journal });
    await expect(failing).rejects.toMatchObject({ code: 'REPOSITORY_CHANGING', persistence: 'transient' });
    expect(await sql(url, 'SELECT * FROM s.a')).toEqual([]);
    expect(await sql(url, 'SELECT * FROM blue.a')).toEqual([{ id: 1 }]);
  });
});

/** Runs statements while this process, and so the backup in it, stands still. */
function runAtOnce(url: string, statements: string): void {
  const program = `const client = new (require('pg').Client)(process.argv[1]);
    client.connect().then(() => client.query(process.argv[2])).then(() => client.end());`;
  execFileSync(process.execPath, ['-e', program, url, statements], { cwd: __dirname });
}

/** The scans of a plan: "Seq Scan on s.t", "Index Scan using i on s.t x". */
const SCANNED = /\bScan (?:using \S+ )?on (\S+)/g;

(servers.debianPostgres ? test : test.skip)(
  'neither a backup, nor a verification with its restore plan, has a query planned on a table of the repository',
  async () => {
    const server = await OwnServer.postgres({
      binaries: servers.debianPostgres?.binaries,
      settings: {
        session_preload_libraries: 'auto_explain',
        'auto_explain.log_min_duration': '0',
        'auto_explain.log_verbose': 'on',
        'auto_explain.log_nested_statements': 'on',
        log_statement: 'all',
      },
    });
    try {
      const url = await newDatabase(server.url);
      await sql(
        url,
        `CREATE ROLE owner; CREATE SCHEMA s; CREATE TABLE s.t (id int PRIMARY KEY, v text); CREATE TABLE s.ref (t int REFERENCES s.t);
         CREATE TABLE s.none (); CREATE TABLE s.empty (a int); CREATE SEQUENCE s.q; CREATE VIEW s.v AS TABLE s.t; CREATE MATERIALIZED VIEW s.m AS TABLE s.t;
         INSERT INTO s.t SELECT i, repeat('x', 200) FROM generate_series(1, 2000) i; INSERT INTO s.ref VALUES (1); INSERT INTO s.none DEFAULT VALUES;
         ALTER TABLE s.t OWNER TO owner; ALTER TABLE s.ref OWNER TO owner`,
      );
      const start = server.log().length;
      const { key, entities } = await runBackup(store, url, ['s'], {
        chunkBytes: 64 * KiB,
        definitions: 'auto',
      });
      expect(entities).toBe(2002);
      await runVerify(store, url, ['s'], key);
      const log = server.log().slice(start);
      expect(log).toContain('COPY "s"."t" ("id", "v") TO STDOUT');
      const scanned = new Set([...log.matchAll(SCANNED)].map(([, relation = '']) => relation));
      // The sequence is read by a query; it has neither indexes nor statistics.
      expect([...scanned].filter((relation) => /^"?s"?\./.test(relation))).toEqual(['s.q']);
      expect(log).not.toMatch(/: EXPLAIN/);

      // The log shows such plans where there are some.
      await sql(url, 'SELECT count(*) FROM s.t');
      expect(server.log()).toMatch(/Scan .*on s\.t/);
    } finally {
      await server.stop();
    }
  },
);

test('rows are looked for without a plan, and found also where a table was emptied and not vacuumed', async () => {
  const url = await newDatabase();
  await sql(
    url,
    'CREATE SCHEMA a; CREATE SCHEMA b; CREATE TABLE a.t (id int); CREATE TABLE b.t (id int); INSERT INTO a.t VALUES (1); INSERT INTO b.t SELECT generate_series(1, 10000)',
  );
  const { key } = await runBackup(store, url, ['a']);
  const into = { intoSchemas: { a: 'b' } };
  await expect(runRestore(store, url, ['a'], key, into)).rejects.toMatchObject({
    code: 'DESTINATION_REFUSED',
  });
  const client = new pg.Client(url);
  await client.connect();
  await client.query('DELETE FROM b.t');
  const { rows } = await client.query<{ bytes: string }>("SELECT pg_relation_size('b.t') AS bytes");
  expect(Number(rows[0]?.bytes)).toBeGreaterThan(0);
  await runRestore(store, url, ['a'], key, into);
  expect((await client.query('SELECT * FROM b.t')).rows).toEqual([{ id: 1 }]);
  await client.end();
});
