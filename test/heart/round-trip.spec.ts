import { pipeline } from 'node:stream/promises';
import { Readable } from 'node:stream';
import pg from 'pg';
import { from as copyFrom } from 'pg-copy-streams';
import { quoteIdentifier, quoteTable } from '#postgres';
import { DownloadedArchive } from '../support/archive.js';
import { runBackup } from '../support/heart.js';
import { newDatabase, postgresMajors, sql, storeOfTests, oneOf, seed } from '../support/servers.js';

const store = storeOfTests();

/** Loads every table of the archive beside the live one and compares row by row, both ways. */
async function expectEqualRows(url: string, archive: DownloadedArchive): Promise<void> {
  const client = new pg.Client(url);
  await client.connect();
  try {
    for (const { schema, name, rows, columns, entries } of archive.manifest().tables) {
      const live = quoteTable({ schema, name });
      const names = columns
        .filter(({ generated }) => !generated)
        .map((column) => quoteIdentifier(column.name));
      await client.query(`DROP TABLE IF EXISTS loaded; CREATE TEMP TABLE loaded (LIKE ${live})`);
      for (const entry of entries)
        await pipeline(
          Readable.from([archive.read(entry.name)]),
          client.query(copyFrom(`COPY loaded (${names.join(', ')}) FROM STDIN (FORMAT csv, HEADER true)`)),
        );
      const text = `SELECT ROW(${names.join(', ')})::text AS row FROM`;
      const { rows: differences } = await client.query(
        `(${text} loaded EXCEPT ALL ${text} ONLY ${live}) UNION ALL (${text} ONLY ${live} EXCEPT ALL ${text} loaded)`,
      );
      expect({ table: name, differences }).toEqual({ table: name, differences: [] });
      const { rows: counted } = await client.query<{ count: string }>(`SELECT count(*) FROM ONLY ${live}`);
      expect({ table: name, rows }).toEqual({ table: name, rows: Number(counted[0]?.count) });
    }
  } finally {
    await client.end();
  }
}

// The other one runs with another seed, and both in `npm run test:long`.
describe.each(oneOf(postgresMajors, seed))('a backup of %s', (_title, server) => {
  test('holds every row of every table exactly, in a zip that unzip accepts', async () => {
    const url = await newDatabase(server);
    await sql(
      url,
      `CREATE SCHEMA "Odd.Schema"; CREATE SCHEMA plain;
       CREATE TABLE plain.texts (id int PRIMARY KEY, t text);
       INSERT INTO plain.texts VALUES (1, NULL), (2, ''), (3, '\\.'), (4, E'two\\nlines'), (5, 'a,"b",c'), (6, E'\\\\N'),
         (7, E'\\r\\n'), (8, 'Ünïcödé ☃'), (9, repeat('long ', 100000));
       CREATE TABLE plain.numbers (f float8, r float4, n numeric, t timestamptz, i interval, b bytea, a text[], j jsonb);
       INSERT INTO plain.numbers VALUES
         ('NaN', 'Infinity', 'NaN', '-infinity', '1 mon -3 days 04:05:06.789', '\\x00ff', '{a,NULL,"NULL",""}', '{"k": 1e400}'),
         (0.1, 1.1754944e-38, 12345678901234567890.123456789, '0044-03-15 00:00:00+00 BC', '0', '', '[2:3]={x,y}', 'null');
       CREATE TABLE plain.computed (a int, b int GENERATED ALWAYS AS (a * 2) STORED);
       INSERT INTO plain.computed (a) SELECT generate_series(1, 100);
       CREATE TABLE plain.empty (a int);
       CREATE TABLE plain.nulls (a text);
       INSERT INTO plain.nulls VALUES (NULL), (''), (NULL);
       CREATE TABLE "Odd.Schema"."a/b%c, ""d"" é" ("Ä column" text, "select" int);
       INSERT INTO "Odd.Schema"."a/b%c, ""d"" é" VALUES ('x', 1);
       CREATE SEQUENCE plain.counter; SELECT nextval('plain.counter') FROM generate_series(1, 41);
       CREATE SEQUENCE plain.unused START 7;`,
    );
    const { key, entities } = await runBackup(store, url, ['plain', 'Odd.Schema'], { definitions: 'auto' });
    const archive = await DownloadedArchive.of(store, key);

    expect(archive.test()).toContain('No errors detected');
    const names = archive.entries().filter((name) => !/^(database|schema|roles)\.sql$/.test(name));
    expect(names.at(-1)).toBe('manifest.json');
    expect(new Set(names.slice(0, -1))).toEqual(
      new Set([
        'data/Odd%2ESchema.a%2Fb%25c%2C%20%22d%22%20é/000001.csv',
        'data/plain.computed/000001.csv',
        'data/plain.empty/000001.csv',
        'data/plain.nulls/000001.csv',
        'data/plain.numbers/000001.csv',
        'data/plain.texts/000001.csv',
        'data/plain.texts/000002.csv',
      ]),
    );
    expect(entities).toBe(9 + 2 + 100 + 3 + 1);
    await expectEqualRows(url, archive);
    expect(archive.manifest().sequences).toEqual([
      { schema: 'plain', name: 'counter', lastValue: '41', isCalled: true },
      { schema: 'plain', name: 'unused', lastValue: '7', isCalled: false },
    ]);
    expect(archive.manifest().totals).toMatchObject({ tables: 6, entities });
  });

  test('keeps the rows of partitions and of inheritance parents apart, each once', async () => {
    const url = await newDatabase(server);
    await sql(
      url,
      `CREATE SCHEMA s;
       CREATE TABLE s.root (id int) PARTITION BY RANGE (id);
       CREATE TABLE s.low PARTITION OF s.root FOR VALUES FROM (0) TO (10);
       CREATE TABLE s.high PARTITION OF s.root FOR VALUES FROM (10) TO (20);
       INSERT INTO s.root SELECT generate_series(0, 14);
       CREATE TABLE s.parent (id int); CREATE TABLE s.child () INHERITS (s.parent);
       INSERT INTO s.parent VALUES (1); INSERT INTO s.child VALUES (2), (3);`,
    );
    const { key } = await runBackup(store, url, ['s'], { definitions: 'auto' });
    const archive = await DownloadedArchive.of(store, key);
    expect(archive.manifest().tables.map(({ name, rows }) => [name, rows])).toEqual([
      ['child', 2],
      ['high', 5],
      ['low', 10],
      ['parent', 1],
    ]);
    await expectEqualRows(url, archive);
  });

  test('is not changed by settings of the database or the role', async () => {
    const url = await newDatabase(server);
    const database = new URL(url).pathname.slice(1);
    await sql(
      url,
      `CREATE SCHEMA s; CREATE TABLE s.t (d timestamptz, f float8, b bytea, i interval, a text[]);
       INSERT INTO s.t VALUES ('2011-08-18 22:38:56.615+00', 0.1 + 0.2::float8, '\\xdeadbeef', '1 year 2 days', '{NULL}');`,
    );
    const first = await DownloadedArchive.of(
      store,
      (await runBackup(store, url, ['s'], { definitions: 'auto' })).key,
    );
    for (const setting of [
      "datestyle TO 'SQL, DMY'",
      "timezone TO 'Asia/Tokyo'",
      'extra_float_digits TO -5',
      "bytea_output TO 'escape'",
      "intervalstyle TO 'iso_8601'",
      "search_path TO 's'",
      'statement_timeout TO 1', // The last one: from now on only the backup gets anything done.
    ])
      await sql(url, `ALTER DATABASE ${database} SET ${setting}`);
    const second = await DownloadedArchive.of(
      store,
      (await runBackup(store, url, ['s'], { definitions: 'auto' })).key,
    );
    const name = 'data/s.t/000001.csv';
    expect(second.read(name).toString()).toBe(first.read(name).toString());
  });
});

test('the manifest names everything that the archive omits', async () => {
  const url = await newDatabase();
  await sql(
    url,
    `CREATE SCHEMA s; CREATE TABLE s.t (a int);
     CREATE FOREIGN DATA WRAPPER w; CREATE SERVER elsewhere FOREIGN DATA WRAPPER w;
     CREATE FOREIGN TABLE s.remote (a int) SERVER elsewhere;`,
  );
  const other = new pg.Client(url);
  await other.connect();
  await other.query('CREATE TEMP TABLE mine (a int)');
  await expect(
    runBackup(store, url, ['s'], { definitions: 'off', keyPrefix: 'refused/', failOnOmissions: true }),
  ).rejects.toMatchObject({
    code: 'OMISSIONS_REFUSED',
    persistence: 'permanent',
    message: expect.stringMatching(
      /would omit schema definitions, rows of 1 foreign table, 1 temporary table: .*rows of s\.remote \(a foreign table: its rows are on another server\)/,
    ) as string,
  });
  for await (const { key } of store.list('refused/', AbortSignal.timeout(10_000)))
    throw new Error(`The refused backup left ${key}`);
  const { key } = await runBackup(store, url, ['s'], { definitions: 'off' });
  const archive = await DownloadedArchive.of(store, key);
  await other.end();
  expect(archive.manifest().leftOut.map(({ what }) => what)).toEqual([
    'definitions',
    'rows of s.remote',
    '1 temporary table',
  ]);
  expect(archive.entries()).toEqual(['data/s.t/000001.csv', 'roles.sql', 'manifest.json']);
});
