import { runMigrations } from 'bullmq';
import pg from 'pg';
import { OWN_SCHEMAS, scopeOf, Secret } from '#config';
import { databaseOptions, openDatabase } from '#database';
import { makeOwnSchema, Session, takeSnapshot } from '#postgres';
import { DownloadedArchive } from '../support/archive.js';
import { runBackup, runRestore, runVerify } from '../support/heart.js';
import {
  newDatabase,
  newOwnedDatabase,
  oneOf,
  postgresMajors,
  sql,
  storeOfTests,
} from '../support/servers.js';

const store = storeOfTests();
const named = (relations: { schema: string; name: string }[] = []) =>
  relations.map(({ schema, name }) => `${schema}.${name}`);

/** Makes the queue's schema as APIs and workers do. */
async function makeQueue(url: string): Promise<void> {
  const client = new pg.Client(url);
  await client.connect();
  await makeOwnSchema(
    async (text, values) => (await client.query<pg.QueryResultRow>(text, values)).rows,
    OWN_SCHEMAS.queue,
  );
  await runMigrations(client, OWN_SCHEMAS.queue);
  await client.end();
}

const manifestOf = async (key: string) => (await DownloadedArchive.of(store, key)).manifest();

describe.each(oneOf(postgresMajors, 0))('on %s', (_title, server) => {
  test('all schemas are those of users, without what belongs to extensions and to snapshotd itself', async () => {
    const url = await newDatabase(server);
    await (await openDatabase(databaseOptions(new Secret(url)))).destroy();
    await makeQueue(url);
    await sql(
      url,
      `ALTER SCHEMA snapshotd RENAME TO accounts; ALTER SCHEMA snapshotd_queue RENAME TO jobs;
      CREATE SCHEMA shop; CREATE TABLE shop.migrations (id serial PRIMARY KEY, "timestamp" bigint NOT NULL, name varchar NOT NULL);
      INSERT INTO shop.migrations ("timestamp", name) VALUES (1, 'CreateShop1');
      CREATE SCHEMA bull; CREATE TABLE bull.migration (version int PRIMARY KEY, name text); CREATE SCHEMA snapshotd;
      CREATE TABLE snapshotd.mine AS SELECT 1 AS a; CREATE TABLE public.open AS SELECT 2 AS a; CREATE SCHEMA nothing;
      CREATE SCHEMA ext; CREATE EXTENSION hstore SCHEMA ext; CREATE TABLE ext.plain AS SELECT 3 AS a`,
    );
    const { key, omissions } = await runBackup(store, url, '*');
    expect(omissions).toEqual(['definitions']);
    const { schemas, scope, tables, sequences } = await manifestOf(key);
    expect(schemas).toEqual(['bull', 'ext', 'nothing', 'public', 'repository', 'shop', 'snapshotd']);
    expect(scope).toEqual({ ...scopeOf('*'), excluded: { schemas: [], tables: [], rows: [] } });
    expect(named(tables).filter((table) => !table.startsWith('repository.'))).toEqual([
      'bull.migration',
      'ext.plain',
      'public.open',
      'shop.migrations',
      'snapshotd.mine',
    ]);
    expect(named(sequences)).toContain('shop.migrations_id_seq');

    await sql(url, 'TRUNCATE shop.migrations, snapshotd.mine RESTART IDENTITY; UPDATE ext.plain SET a = 0');
    await runRestore(store, url, '*', key);
    expect(
      await sql(
        url,
        `SELECT m.name, p.a, o.a AS mine, nextval('shop.migrations_id_seq')::int AS next FROM shop.migrations m, ext.plain p, snapshotd.mine o`,
      ),
    ).toEqual([{ name: 'CreateShop1', a: 3, mine: 1, next: 2 }]);

    // A list names the others, but not snapshotd's own; and it cannot name those.
    const listed = await runBackup(store, url, ['public', 'nothing', 'bull', 'repository']);
    expect(listed.omissions).toEqual([
      'definitions',
      'the schema ext (1 table, about 1 row)',
      'the schema shop (1 table, about 1 row)',
      'the schema snapshotd (1 table, about 1 row)',
    ]);
    await expect(runBackup(store, url, ['accounts'])).rejects.toMatchObject({
      code: 'SCHEMA_MISSING',
      message: expect.stringContaining("holds snapshotd's own state") as string,
    });

    // Schemas that appeared since are extra tables, and the archive of a list does not mind them.
    await sql(url, 'CREATE SCHEMA later; CREATE TABLE later.t (a int)');
    await expect(runRestore(store, url, '*', key)).rejects.toMatchObject({
      message: expect.stringContaining('the archive holds no table later.t (allowExtraTables') as string,
    });
    await runRestore(store, url, '*', key, { allowExtraTables: true });
    await runRestore(store, url, '*', listed.key);
    await expect(runRestore(store, url, ['shop'], key)).rejects.toMatchObject({
      code: 'ARCHIVE_DOES_NOT_FIT',
    });
    await runRestore(store, url, '*', key, {
      tables: ['ext.plain'],
      intoSchemas: { ext: 'copy' },
      create: true,
    });
    expect(await sql(url, 'SELECT a FROM copy.plain')).toEqual([{ a: 3 }]);
  });

  test('patterns exclude schemas, tables and rows on purpose, and a restore leaves them alone', async () => {
    const url = await newDatabase(server);
    await sql(
      url,
      `CREATE SCHEMA app; CREATE SCHEMA tmp_1; CREATE SCHEMA "tmp*"; CREATE SCHEMA "a.b"; CREATE TABLE tmp_1.t (a int);
      CREATE TABLE "tmp*".t (a int); CREATE TABLE "a.b"."x,y" (a int); CREATE TABLE "a.b".xy (a int);
      CREATE TABLE app.log (id serial, day int) PARTITION BY LIST (day); CREATE TABLE app.day_1 PARTITION OF app.log FOR VALUES IN (1);
      CREATE TABLE tmp_1.day_2 PARTITION OF app.log FOR VALUES IN (2);
      CREATE TABLE app.hits (id serial PRIMARY KEY, at int); CREATE TABLE app.kept (id serial, hit int REFERENCES app.hits);
      CREATE TABLE app."Kept" (a int); CREATE MATERIALIZED VIEW app.sums AS SELECT count(*) FROM app.kept;
      INSERT INTO app.log (day) VALUES (1), (2); INSERT INTO app.hits (at) VALUES (1), (2); INSERT INTO app.kept (hit) VALUES (1)`,
    );
    const scope = {
      schemas: '*' as const,
      excludeSchemas: ['tmp_*'],
      excludeTables: ['*.log', '"a.b"."x,y"', '"tmp*".*', 'app.kep'],
      excludeTableRows: ['app.h*s', 'app.sums'],
    };
    const { key, omissions } = await runBackup(store, url, scope, { definitions: 'required' });
    expect(omissions).toEqual([]);
    const { schemas, tables, sequences, populatedViews, scope: said } = await manifestOf(key);
    expect(schemas).toEqual(['a.b', 'app', 'public', 'tmp*']);
    expect(named(tables)).toEqual(['a.b.xy', 'app.Kept', 'app.kept']);
    expect(named(sequences)).toEqual(['app.kept_id_seq']);
    expect(populatedViews).toEqual([]);
    expect(said).toMatchObject(scope);
    expect(said?.excluded.schemas).toEqual(['tmp_1']);
    expect(named(said?.excluded.tables)).toEqual(['a.b.x,y', 'app.day_1', 'app.log', 'tmp*.t']);
    expect(named(said?.excluded.rows)).toEqual(['app.hits', 'app.sums']);

    // The archive says what it excluded, so a repository that excludes nothing does not find extra tables.
    await sql(
      url,
      'INSERT INTO app.hits (at) VALUES (3); INSERT INTO app.log (day) VALUES (1); DELETE FROM app.kept',
    );
    await runRestore(store, url, '*', key);
    const counts = `SELECT (SELECT count(*)::int FROM app.hits) AS hits, (SELECT count(*)::int FROM app.log) AS log, (SELECT count(*)::int FROM app.kept) AS kept,
      (SELECT last_value::int FROM app.hits_id_seq) AS hit, (SELECT last_value::int FROM app.log_id_seq) AS line`;
    expect(await sql(url, counts)).toEqual([{ hits: 3, log: 3, kept: 1, hit: 3, line: 3 }]);
    // A drill names the key whose rows were excluded.
    expect((await runVerify(store, url, scope, key, { level: 'DRILL' })).warnings).toEqual([
      expect.stringContaining('kept_hit_fkey'),
    ]);

    // An archive from before the exclusions is restored whole.
    const whole = await runBackup(store, url, '*');
    await sql(url, 'DELETE FROM app.kept; DELETE FROM app.hits');
    await runRestore(store, url, scope, whole.key);
    expect(await sql(url, counts)).toMatchObject([{ hits: 3, log: 3, kept: 1 }]);
  });

  test('everything that the role may not read fails the backup with one message', async () => {
    const { admin, url, role } = await newOwnedDatabase(server);
    await sql(
      admin,
      `CREATE SCHEMA a; CREATE TABLE a.t (id serial); CREATE SCHEMA b; CREATE TABLE b.open (); GRANT SELECT ON b.open TO ${role};
      GRANT USAGE ON SCHEMA a TO ${role}; CREATE TABLE a.hidden (); ALTER TABLE a.hidden ENABLE ROW LEVEL SECURITY;
      GRANT SELECT ON a.hidden TO ${role}; CREATE SCHEMA c; CREATE TABLE c.excluded (); CREATE SCHEMA empty`,
    );
    const scope = { ...scopeOf('*'), excludeTables: ['c.*'] };
    await expect(runBackup(store, url, scope)).rejects.toMatchObject({
      code: 'DATABASE_PERMISSION_DENIED',
      persistence: 'permanent',
      message: `The role ${role} may not use the schema b. The role ${role} may not read a.t, a.t_id_seq: permission denied. Row security may hide rows of a.hidden from the role ${role}.`,
      hint: `Run: GRANT USAGE ON SCHEMA "b" TO "${role}"; GRANT SELECT ON "a"."t", "a"."t_id_seq" TO "${role}"; Have a superuser run: ALTER ROLE "${role}" BYPASSRLS;`,
    });
  });

  test('a snapshot starts over if a schema is dropped before its tables are locked', async () => {
    const url = await newDatabase(server);
    await sql(
      url,
      'CREATE SCHEMA a; CREATE TABLE a.t (); CREATE SCHEMA b; CREATE TABLE b.t (); CREATE SCHEMA c',
    );
    const session = await Session.open(url, { applicationName: 'test' });
    const drop = (schema: string) => async (step: string) => {
      if (step === 'listed') await sql(url, `DROP SCHEMA IF EXISTS ${schema} CASCADE`);
    };
    const { members, tables } = await takeSnapshot(session, scopeOf('*'), drop('b'));
    expect([members.schemas, named(tables)]).toEqual([['a', 'c', 'public'], ['a.t']]);
    await session.query('ROLLBACK');
    // Another one of the same name counts.
    let tries = 0;
    const again = await takeSnapshot(session, scopeOf(['a', 'c']), async (step) => {
      if (step === 'listed' && tries++ === 0) await sql(url, 'DROP SCHEMA c');
      if (step === 'exported') await sql(url, 'CREATE SCHEMA IF NOT EXISTS c');
    });
    expect([again.members.schemas, tries]).toEqual([['a', 'c'], 2]);
    await session.query('ROLLBACK');
    const gone = { code: 'SCHEMA_MISSING', message: expect.stringContaining('no schema c.') as string };
    await expect(takeSnapshot(session, scopeOf(['a', 'c']), drop('c'))).rejects.toMatchObject(gone);
    await session.close();
  });
});
