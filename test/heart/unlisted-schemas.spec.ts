import type { RestoreResult } from '#engine';
import { runBackup, runRestore } from '../support/heart.js';
import { newDatabase, oneOf, postgresMajors, sql, storeOfTests } from '../support/servers.js';

const store = storeOfTests();

describe.each(oneOf(postgresMajors, 1))('on %s', (_title, server) => {
  test('backups and restores name dependent objects in unlisted schemas', async () => {
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
      CREATE TABLE app.many (k int) PARTITION BY LIST (k);
      CREATE VIEW parts.seen AS SELECT k FROM app.event; CREATE MATERIALIZED VIEW parts.kept AS SELECT count(*) FROM parts.seen;
      CREATE MATERIALIZED VIEW parts.never AS SELECT * FROM app.event WITH NO DATA; CREATE TABLE parts.stranger (a int);
      INSERT INTO app.event VALUES (1), (11), (12); INSERT INTO parts.grandchild VALUES (7); ANALYZE`,
    );
    for (let k = 100; k < 122; k++)
      await sql(url, `CREATE TABLE parts.many_${k} PARTITION OF app.many FOR VALUES IN (${k})`);
    const kept = () => sql(url, 'SELECT * FROM parts.kept');
    const { key, omissions } = await runBackup(store, url, ['app'], { definitions: 'off' });
    expect(omissions).toEqual([
      'definitions',
      'parts.event_2a (about 1 row)',
      'parts.grandchild (about 1 row)',
      'parts.kid (about 0 rows)',
      ...Array.from({ length: 20 }, (_, index) => `parts.many_${100 + index} (about 0 rows)`),
      '2 more tables of the schema parts (about 0 rows)',
      'the sequence parts.numbers',
      'a, b.country, to which app.event refers',
    ]);
    const some = await runRestore(store, url, ['app'], key, { tables: ['app.event'] });
    const omitted = ({ archiveOmits = [] }: RestoreResult) => archiveOmits.map(({ what }) => what);
    expect(omitted(some)).toEqual(['parts.event_2a (about 1 row)', 'the sequence parts.numbers']);
    const base = await runRestore(store, url, ['app'], key, { tables: ['app.base'] });
    expect(omitted(base)).toEqual(['parts.grandchild (about 1 row)', 'parts.kid (about 0 rows)']);
    expect(base.omissions).toEqual(['app.heir (inherits from app.base, and was not chosen)']);
    const both = await runRestore(store, url, ['app'], key, { tables: ['app.base', 'app.heir'] });
    expect(omitted(both)).toEqual(omitted(base));
    expect(both.omissions).toEqual([]);
    const all = await runRestore(store, url, ['app'], key);
    expect(omitted(all)).toEqual(omissions);
    // As in a database that was made from definitions.
    await sql(url, 'REFRESH MATERIALIZED VIEW parts.kept WITH NO DATA');
    await runRestore(store, url, ['app'], key);
    expect(await kept()).toEqual([{ count: '3' }]);
  });
});
