import { DownloadedArchive } from '../support/archive.js';
import { runBackup, runRestore } from '../support/heart.js';
import { newDatabase, oneOf, postgresMajors, sql, storeOfTests } from '../support/servers.js';

const store = storeOfTests();

describe.each(oneOf(postgresMajors, 0))('on %s', (_title, server) => {
  test('an archive lists the populated views over its tables in every schema, each after those that it reads', async () => {
    const url = await newDatabase(server);
    await sql(
      url,
      `CREATE SCHEMA a; CREATE SCHEMA b; CREATE TABLE a.t (id int); CREATE TABLE b.other (id int);
       CREATE TABLE b.root (id int) PARTITION BY LIST (id); CREATE TABLE a.part PARTITION OF b.root DEFAULT; INSERT INTO a.part VALUES (1);
       CREATE MATERIALIZED VIEW b.z AS SELECT id FROM a.t; CREATE VIEW b.v AS SELECT id FROM b.z;
       CREATE MATERIALIZED VIEW b.a AS SELECT id FROM b.v; CREATE MATERIALIZED VIEW b.of_root AS SELECT id FROM b.root;
       CREATE MATERIALIZED VIEW b.of_other AS SELECT id FROM b.other; CREATE MATERIALIZED VIEW a."of other" AS SELECT id FROM b.other;
       CREATE MATERIALIZED VIEW b.empty AS SELECT id FROM a.t WITH NO DATA`,
    );
    const { key } = await runBackup(store, url, ['a']);
    const { populatedViews } = (await DownloadedArchive.of(store, key)).manifest();
    const names = (populatedViews ?? []).map(({ schema, name }) => `${schema}.${name}`);
    expect(names.toSorted()).toEqual(['a.of other', 'b.a', 'b.of_root', 'b.z']);
    expect(names.indexOf('b.a')).toBeGreaterThan(names.indexOf('b.z'));

    await sql(
      url,
      'REFRESH MATERIALIZED VIEW b.a WITH NO DATA; REFRESH MATERIALIZED VIEW b.of_root WITH NO DATA',
    );
    await runRestore(store, url, ['a'], key);
    expect(await sql(url, 'SELECT id FROM b.of_root')).toEqual([{ id: 1 }]);
    expect(await sql(url, 'SELECT id FROM b.a')).toEqual([]);
  });

  test('views that read one which cannot be refreshed are named, also through views and functions', async () => {
    const url = await newDatabase(server);
    await sql(
      url,
      `CREATE SCHEMA s; SET search_path TO s; CREATE TABLE t (id int, d int); INSERT INTO t VALUES (1, 1);
       CREATE MATERIALIZED VIEW fails AS SELECT id, 10 / d AS q FROM t;
       CREATE VIEW plain AS SELECT id FROM fails;
       CREATE FUNCTION inner_f() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM s.plain';
       CREATE FUNCTION outer_f() RETURNS bigint LANGUAGE plpgsql AS 'BEGIN RETURN s.inner_f(); END';
       CREATE MATERIALIZED VIEW by_function AS SELECT s.outer_f() AS n;
       CREATE MATERIALIZED VIEW over_it AS SELECT n FROM by_function;
       CREATE MATERIALIZED VIEW by_view AS SELECT count(*) FROM plain;
       CREATE MATERIALIZED VIEW directly AS SELECT count(*) FROM fails;
       CREATE FUNCTION other_f() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM s.t';
       CREATE MATERIALIZED VIEW fresh AS SELECT count(*), s.other_f() FROM t;
       INSERT INTO t VALUES (2, 0)`,
    );
    const { key } = await runBackup(store, url, ['s'], { definitions: 'off' });
    const { omissions } = await runRestore(store, url, ['s'], key);
    const old = (name: string) =>
      `the materialized view s.${name} (refreshed from old rows: it may read s.fails, not refreshed)`;
    expect(omissions?.[0]).toMatch(/^the materialized view s\.fails \(not refreshed: .*division/);
    expect(omissions?.slice(1).toSorted()).toEqual(
      ['by_function', 'by_view', 'directly', 'over_it'].map(old),
    );
    expect(await sql(url, 'SELECT * FROM s.fresh')).toEqual([{ count: '2', other_f: '2' }]);
  });
});
