import { displayTable } from '#postgres';
import { DownloadedArchive } from '../support/archive.js';
import { runBackup, runRestore, runVerify } from '../support/heart.js';
import { newDatabase, oneOf, postgresMajors, sql, storeOfTests } from '../support/servers.js';

const store = storeOfTests();

describe.each(oneOf(postgresMajors, 1))('on %s', (_title, server) => {
  test('a backup of listed schemas holds what belongs to their tables, and names the other schemas', async () => {
    const url = await newDatabase(server);
    await sql(
      url,
      `CREATE SCHEMA app; CREATE SCHEMA parts; CREATE SCHEMA "a, b";
      CREATE TABLE "a, b".country (code text PRIMARY KEY);
      CREATE SEQUENCE parts.numbers; CREATE SEQUENCE parts.free;
      CREATE TABLE app.event (k int, c text REFERENCES "a, b".country, n int DEFAULT nextval('parts.numbers')) PARTITION BY RANGE (k);
      CREATE TABLE app.event_1 PARTITION OF app.event FOR VALUES FROM (0) TO (10);
      CREATE TABLE parts.event_2 PARTITION OF app.event FOR VALUES FROM (10) TO (20) PARTITION BY LIST (k);
      CREATE TABLE parts.event_2a PARTITION OF parts.event_2 FOR VALUES IN (11);
      CREATE TABLE app.event_2b PARTITION OF parts.event_2 FOR VALUES IN (12);
      CREATE TABLE app.base (a int); CREATE TABLE app.heir () INHERITS (app.base); CREATE TABLE parts.kid () INHERITS (app.base); CREATE TABLE parts.grandchild () INHERITS (parts.kid);
      CREATE VIEW parts.seen AS SELECT k FROM app.event; CREATE MATERIALIZED VIEW parts.kept AS SELECT count(*) FROM parts.seen;
      CREATE MATERIALIZED VIEW parts.never AS SELECT * FROM app.event WITH NO DATA; CREATE TABLE parts.stranger (a int);
      INSERT INTO app.event VALUES (1), (11), (12); INSERT INTO parts.grandchild VALUES (7); ANALYZE`,
    );
    const kept = () => sql(url, 'SELECT * FROM parts.kept');
    const { key, entities, omissions } = await runBackup(store, url, ['app'], { definitions: 'off' });
    expect(entities).toBe(4);
    expect(omissions).toEqual([
      'definitions',
      'the schema a, b (1 table, about 0 rows)',
      'the schema parts (1 table, about 0 rows)',
      'a, b.country',
    ]);
    const manifest = (await DownloadedArchive.of(store, key)).manifest();
    expect(manifest.schemas).toEqual(['app']);
    expect(manifest.leftOut.at(-1)?.why).toMatch(/^app.event refers to a, b.country; /);
    expect(manifest.sequences.map(displayTable)).toEqual(['parts.numbers']);
    expect(manifest.populatedViews?.map(displayTable)).toEqual(['parts.kept']);

    // In place: the members in other schemas too, and nothing else.
    await sql(
      url,
      `UPDATE app.event SET n = 0; UPDATE app.base SET a = 0; INSERT INTO parts.stranger VALUES (1);
      SELECT setval('parts.numbers', 100), setval('parts.free', 100); REFRESH MATERIALIZED VIEW parts.kept WITH NO DATA`,
    );
    await runRestore(store, url, ['app'], key);
    expect(await kept()).toEqual([{ count: '3' }]);
    expect(
      await sql(
        url,
        `SELECT (SELECT sum(n)::int FROM app.event) AS events, (SELECT sum(a)::int FROM app.base) AS base,
      (SELECT last_value::int FROM parts.numbers) AS numbers, (SELECT last_value::int FROM parts.free) AS free, (SELECT count(*)::int FROM parts.stranger) AS strangers`,
      ),
    ).toEqual([{ events: 6, base: 7, numbers: 3, free: 100, strangers: 1 }]);
    await runVerify(store, url, ['app'], key);

    // A chosen table includes its partitions everywhere, and no other children.
    await runRestore(store, url, ['app'], key, { tables: ['app.event'] });
    const base = await runRestore(store, url, ['app'], key, { tables: ['app.base'] });
    expect(base.omissions).toEqual([
      'app.heir (inherits from app.base, and was not chosen)',
      'parts.grandchild (inherits from app.base, and was not chosen)',
      'parts.kid (inherits from app.base, and was not chosen)',
    ]);

    // A partition that appeared elsewhere since is an extra table.
    await sql(url, 'CREATE TABLE parts.event_3 PARTITION OF app.event FOR VALUES FROM (20) TO (30)');
    await expect(runRestore(store, url, ['app'], key)).rejects.toMatchObject({
      message: expect.stringContaining('the archive holds no table parts.event_3') as string,
    });
    await runRestore(store, url, ['app'], key, { allowExtraTables: true });
  });
});
