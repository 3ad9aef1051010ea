import { setTimeout as sleep } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import pg from 'pg';
import type { ManifestEntry } from '#archive';
import { type Chunk, planChunks, type Table } from '#postgres';
import { DownloadedArchive } from '../support/archive.js';
import { MemoryJournal, runBackup, runRestore } from '../support/heart.js';
import { newDatabase, oneOf, postgresMajors, sql, storeOfTests } from '../support/servers.js';
import { stateOf } from '../support/state.js';

const store = storeOfTests();

const KiB = 1024;
const MiB = 1024 * KiB;
const tableOf = (bytes: number, blocks?: number): Table => ({
  oid: 1,
  schema: 's',
  name: 't',
  bytes,
  estimatedRows: 0,
  columns: [],
  partitionOf: [],
  ...(blocks !== undefined && { blocks }),
});

/** The table's OID. */
const PLANNABLE = new Set([1]);

describe('the plan', () => {
  test('reads a table whose owner might gain something as a whole, and the largest table first', () => {
    const [small, large] = [tableOf(1 * MiB, 128), { ...tableOf(400 * MiB, 51_200), oid: 2 }];
    expect(planChunks([small, large], PLANNABLE)).toEqual([
      { table: large, number: 1, entryBytes: 4 * MiB },
      { table: small, number: 1, entryBytes: 4 * MiB },
    ]);
  });

  test('of a table of 100 GB: chunks that fit into memory, and fewer than a manifest can hold', () => {
    const blocks = 100e9 / 8192;
    const chunks = planChunks([tableOf(100e9, Math.ceil(blocks))], PLANNABLE);
    expect(chunks.length).toBeGreaterThan(20_000);
    expect(chunks.length).toBeLessThan(30_000);
    expectEveryBlockOnce(chunks, blocks);
    const bytes = chunks.map((chunk) => ((chunk.blocks?.end ?? 0) - (chunk.blocks?.first ?? 0)) * 8192);
    expect(Math.max(...bytes)).toBeLessThanOrEqual(5 * MiB);
  });

  test('of 10 TB has chunks that grow instead of too many', () => {
    const chunks = planChunks([tableOf(10e12, 1_220_703_125), tableOf(1, 1)], PLANNABLE);
    expect(chunks.length).toBeLessThan(110_000);
  });

  test('counts the bytes of a table with its TOAST table, not only its blocks', () => {
    expect(planChunks([tableOf(400 * MiB, 100)], PLANNABLE).length).toBe(100);
    expect(planChunks([tableOf(400 * MiB, 10)], PLANNABLE).length).toBe(10);
  });

  test.each([[tableOf(0, 0)], [tableOf(8 * KiB, 1)], [tableOf(5 * MiB, 640)], [tableOf(500 * MiB)]])(
    'reads a table as a whole that is empty, small, or cannot be read by blocks: %j',
    (table) => {
      expect(planChunks([table], PLANNABLE)).toEqual([{ table, number: 1, entryBytes: 4 * MiB }]);
    },
  );

  function expectEveryBlockOnce(chunks: Chunk[], blocks: number): void {
    const ends = chunks.map((chunk) => chunk.blocks?.end);
    expect(chunks.map(({ number }) => number)).toEqual(chunks.map((_, index) => index + 1));
    expect(chunks.map((chunk) => chunk.blocks?.first)).toEqual([0, ...ends.slice(0, -1)]);
    expect(ends.indexOf(undefined)).toBe(chunks.length - 1);
    expect(chunks.at(-1)?.blocks?.first).toBeLessThan(blocks);
  }
});

/** Rows that are moved about, long values kept elsewhere, holes, a dropped column, and tables of all sizes. */
const SCHEMA = `
  CREATE SCHEMA s;
  CREATE TABLE s.big (id int PRIMARY KEY, gone text, v text, g int GENERATED ALWAYS AS (id * 2) STORED);
  INSERT INTO s.big (id, gone, v) SELECT i, 'gone', CASE WHEN i % 100 = 0 THEN (SELECT string_agg(md5(j::text || i), '') FROM generate_series(1, 300) j) ELSE E'line\\n"' || i END FROM generate_series(1, 6000) i;
  DELETE FROM s.big WHERE id BETWEEN 1000 AND 3000;
  UPDATE s.big SET v = v || '!' WHERE id % 7 = 0;
  ALTER TABLE s.big DROP gone;
  CREATE TABLE s.empty (a int);
  CREATE TABLE s.none (); INSERT INTO s.none SELECT FROM generate_series(1, 5000);
  CREATE TABLE s.small AS SELECT 1 AS a;`;

test('a backup leaves no memory behind', async () => {
  const url = await newDatabase();
  await sql(url, 'CREATE SCHEMA s; CREATE TABLE s.t AS SELECT generate_series(1, 10) AS a');
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  const held = async () => {
    // Recently ended connections may still hold memory.
    for (let round = 0; round < 5; round++) {
      collect();
      await sleep(20);
    }
    return process.memoryUsage().arrayBuffers;
  };
  await runBackup(store, url, ['s']);
  const before = await held();
  for (let i = 0; i < 10; i++) await runBackup(store, url, ['s']);
  expect((await held()) - before).toBeLessThan(20 * MiB);
});

describe.each(oneOf(postgresMajors, 0))('on %s', (_title, server) => {
  test('the same data gives the same entries byte for byte with any number of parallel jobs', async () => {
    const url = await newDatabase(server);
    await sql(url, SCHEMA);
    const before = await stateOf(url, ['s']);
    const archives: { key: string; entries: ManifestEntry[]; bytes: Buffer }[] = [];
    for (const parallelJobs of [1, 2, 4]) {
      const journal = new MemoryJournal();
      const { key } = await runBackup(store, url, ['s'], { parallelJobs, chunkBytes: 16 * KiB, journal });
      const archive = await DownloadedArchive.of(store, key);
      archive.test();
      const entries = archive.manifest().tables.flatMap((table) => table.entries);
      const packed = Buffer.concat(entries.map(({ name }) => archive.read(name)));
      archives.push({ key, entries, bytes: packed });
    }
    const [one, two, four] = archives;
    expect(one?.entries.length).toBeGreaterThan(30);
    for (const other of [two, four]) {
      expect(other?.entries).toEqual(one?.entries);
      expect(other?.bytes.equals(one?.bytes ?? Buffer.alloc(0))).toBe(true);
    }
    await sql(url, 'DELETE FROM s.big WHERE id > 77; INSERT INTO s.empty VALUES (1); TRUNCATE s.none');
    await runRestore(store, url, ['s'], four?.key ?? '');
    expect(await stateOf(url, ['s'])).toEqual(before);
  });

  test('four parallel jobs see one instant beside a continuous writer', async () => {
    const url = await newDatabase(server);
    const [rows, each] = [20_000, 1_000];
    await sql(
      url,
      `CREATE SCHEMA s; CREATE TABLE s.a (id int PRIMARY KEY, amount int, filler text);
       INSERT INTO s.a SELECT i, ${each}, repeat('x', 300) FROM generate_series(1, ${rows}) i; CREATE TABLE s.b AS TABLE s.a; ALTER TABLE s.b ADD PRIMARY KEY (id)`,
    );
    const writer = new pg.Client(url);
    await writer.connect();
    let stopped = false;
    let moves = 0;
    const moving = (async () => {
      while (!stopped) {
        const id = 1 + (moves++ % rows);
        await writer.query(
          `BEGIN; UPDATE s.a SET amount = amount - 7 WHERE id = ${id}; UPDATE s.b SET amount = amount + 7 WHERE id = ${rows + 1 - id};
           DELETE FROM s.a WHERE id = ${rows - id + 1}; INSERT INTO s.a SELECT ${rows - id + 1}, ${each} + (SELECT ${each} - amount FROM s.b WHERE id = ${id}); COMMIT`,
        );
      }
    })();
    for (let i = 0; i < 2; i++) {
      const before = moves;
      const { key } = await runBackup(store, url, ['s'], { parallelJobs: 4, chunkBytes: 128 * KiB });
      expect(moves).toBeGreaterThan(before);
      const archive = await DownloadedArchive.of(store, key);
      const amounts = new Map<string, number>();
      for (const name of ['a', 'b'])
        for (const row of archive.rows('s', name)) {
          const [id = '', amount] = row.split(',');
          expect(amounts.has(name + id)).toBe(false);
          amounts.set(name + id, Number(amount));
        }
      expect(amounts.size).toBe(2 * rows);
      let sum = 0;
      for (const amount of amounts.values()) sum += amount;
      expect(sum).toBe(2 * rows * each);
    }
    stopped = true;
    await moving;
    await writer.end();
  });

  test('sessions that would deadlock with another session are not used, and the archive is complete', async () => {
    const url = await newDatabase(server);
    await sql(url, SCHEMA);
    const journal = new MemoryJournal();
    let truncating: Promise<unknown> | undefined;
    let state = 'waiting';
    // As soon as the snapshot has its locks, another session queues behind them, ahead of the reader sessions.
    journal.onReport = ({ message }) => {
      if (message === 'Taking the snapshot')
        truncating ??= (async () => {
          const holder = new pg.Client(url);
          await holder.connect();
          for (let locks = 0; locks === 0;) {
            const { rows } = await holder.query<{ count: string }>(
              "SELECT count(*) FROM pg_locks WHERE relation = 's.small'::regclass AND granted AND pid <> pg_backend_pid()",
            );
            locks = Number(rows[0]?.count);
          }
          await holder.query('TRUNCATE s.small');
          state = 'truncated';
          await holder.end();
        })();
    };
    const { key } = await runBackup(store, url, ['s'], {
      parallelJobs: 3,
      chunkBytes: 8 * KiB,
      definitions: 'off',
      journal,
    });
    await truncating;
    expect(state).toBe('truncated');
    const archive = await DownloadedArchive.of(store, key);
    expect(archive.rows('s', 'small')).toEqual(['1']);
    expect(archive.manifest().tables.find(({ name }) => name === 'big')?.rows).toBe(3999);
  });

  test('rows that come after the snapshot are not in it, though the last range has no end', async () => {
    const url = await newDatabase(server);
    await sql(url, SCHEMA);
    const journal = new MemoryJournal();
    let inserting: Promise<unknown> | undefined;
    journal.onReport = ({ message }) => {
      if (message.startsWith('Copying s.big'))
        inserting ??= sql(
          url,
          "INSERT INTO s.big (id, v) SELECT i, 'later' FROM generate_series(10000, 20000) i",
        );
    };
    const { key } = await runBackup(store, url, ['s'], { parallelJobs: 2, chunkBytes: 16 * KiB, journal });
    await inserting;
    const { tables } = (await DownloadedArchive.of(store, key)).manifest();
    expect(tables.find(({ name }) => name === 'big')?.rows).toBe(3999);
  });

  test('values that are far longer than they lie on disk go through in bounded memory', async () => {
    const url = await newDatabase(server);
    await sql(
      url,
      `CREATE SCHEMA s; CREATE TABLE s.wide (id int, v text); CREATE TABLE s.z AS SELECT generate_series(1, 3) AS a;
       INSERT INTO s.wide SELECT i, repeat(chr(64 + i), CASE i WHEN 3 THEN 30000000 ELSE 3000000 END) FROM generate_series(1, 12) i`,
    );
    const before = await stateOf(url, ['s']);
    const { key } = await runBackup(store, url, ['s']);
    const archive = await DownloadedArchive.of(store, key);
    archive.test();
    const lengths = archive.manifest().tables[0]?.entries.map(({ length, rows }) => [rows, length]);
    expect(lengths).toHaveLength(12);
    expect(lengths?.[2]).toEqual([1, 30_000_000 + 'id,v\n3,\n'.length]);
    expect(lengths?.[3]).toEqual([1, 3_000_000 + 'id,v\n4,\n'.length]);
    await sql(url, 'TRUNCATE s.wide, s.z');
    await runRestore(store, url, ['s'], key);
    expect(await stateOf(url, ['s'])).toEqual(before);
  });

  test('an entry that outgrows the memory with its very last bytes is whole', async () => {
    const url = await newDatabase(server);
    // The header, eight rows of 1 MiB with their line breaks, and a few bytes more.
    await sql(
      url,
      `CREATE SCHEMA s; CREATE TABLE s.t (v text); INSERT INTO s.t SELECT repeat('x', ${MiB - 1}) FROM generate_series(1, 8); INSERT INTO s.t VALUES ('tail')`,
    );
    for (let i = 0; i < 3; i++) {
      const { key } = await runBackup(store, url, ['s'], {
        definitions: 'off',
        parallelJobs: 1,
        chunkBytes: 9 * MiB,
      });
      const archive = await DownloadedArchive.of(store, key);
      expect(archive.read('data/s.t/000001.csv').length).toBe(8 * MiB + 'v\ntail\n'.length);
      expect(archive.rows('s', 't').at(-1)).toBe('tail');
    }
  });

  test('small tables that are asked for together are exact, also those that unpack into megabytes', async () => {
    const url = await newDatabase(server);
    // On disk each of these is small: what repeats itself is compressed there.
    await sql(
      url,
      `CREATE SCHEMA s;
       DO $$ BEGIN FOR i IN 1..60 LOOP
         EXECUTE format('CREATE TABLE s.t%s AS SELECT g AS id, %L || g AS v FROM generate_series(1, %s) g', i, 'of ' || i, i % 4);
       END LOOP; END $$;
       UPDATE s.t17 SET v = repeat('ab', 1200000);
       CREATE TABLE s.t61 AS SELECT repeat('x', 3000000) AS a; CREATE TABLE s.t62 AS SELECT repeat('y', 40000) AS a;
       CREATE TABLE s.none (); INSERT INTO s.none SELECT FROM generate_series(1, 3)`,
    );
    const before = await stateOf(url, ['s']);
    const contents: Buffer[] = [];
    for (const compressionLevel of [0, 9]) {
      const { key, entities } = await runBackup(store, url, ['s'], {
        compressionLevel,
        chunkBytes: 4 * MiB,
        definitions: 'off',
      });
      const archive = await DownloadedArchive.of(store, key);
      archive.test();
      const { tables, totals } = archive.manifest();
      expect(tables.length).toBe(63);
      expect(totals.entities).toBe(entities);
      expect(tables.find(({ name }) => name === 't17')?.entries.map(({ length }) => length)).toEqual([
        2_400_008,
      ]);
      contents.push(
        Buffer.concat(tables.flatMap((table) => table.entries.map(({ name }) => archive.read(name)))),
      );
      await sql(url, 'UPDATE s.t17 SET v = NULL; TRUNCATE s.t61, s.t3, s.none');
      await runRestore(store, url, ['s'], key);
      expect(await stateOf(url, ['s'])).toEqual(before);
    }
    expect(contents[1]?.equals(contents[0] ?? Buffer.alloc(0))).toBe(true);
  });

  test('indexes of large tables are rebuilt exactly, including those of keys', async () => {
    const url = await newDatabase(server);
    await sql(
      url,
      `CREATE SCHEMA s;
       CREATE TABLE s.t (id int, a text NOT NULL, b int, c int[], d text, e int,
         CONSTRAINT "my ""key" PRIMARY KEY (id) INCLUDE (b) WITH (fillfactor = 80), UNIQUE (d),
         CONSTRAINT late UNIQUE (e) DEFERRABLE INITIALLY DEFERRED, CONSTRAINT grouped UNIQUE (a), EXCLUDE USING btree (id WITH =));
       COMMENT ON CONSTRAINT "my ""key" ON s.t IS 'the key'; COMMENT ON INDEX s."my ""key" IS 'and its index';
       CREATE TABLE s.ref (d text REFERENCES s.t (d), a text, b int, t int REFERENCES s.t);
       CREATE TABLE s.viewed (id int PRIMARY KEY, a text);
       INSERT INTO s.viewed SELECT i, repeat('y', 300) FROM generate_series(1, 20000) i;
       CREATE VIEW s.groups AS SELECT id, a FROM s.viewed GROUP BY id;
       INSERT INTO s.t SELECT i, md5(i::text) || repeat('x', 200), i % 100, ARRAY[i, i + 1], 'd' || i, i FROM generate_series(1, 20000) i;
       INSERT INTO s.ref SELECT 'd1', 'a', 1, 1;
       CREATE INDEX plain ON s.t (b); COMMENT ON INDEX s.plain IS 'It''s "mine"';
       CREATE UNIQUE INDEX "uni ""que" ON s.t (a DESC, b) INCLUDE (d) WHERE b > 5;
       CREATE INDEX expression ON s.t (lower(a), (b + 1)) WITH (fillfactor = 70); ALTER INDEX s.expression ALTER COLUMN 2 SET STATISTICS 321;
       CREATE INDEX gin ON s.t USING gin (c); CREATE INDEX hash ON s.t USING hash (a);
       CREATE INDEX clustered ON s.t (b, id); ALTER TABLE s.t CLUSTER ON clustered;
       CREATE UNIQUE INDEX identity ON s.t (id, a); ALTER TABLE s.t REPLICA IDENTITY USING INDEX identity`,
    );
    const before = await stateOf(url, ['s']);
    const indexes = () =>
      sql(
        url,
        `SELECT indexrelid::regclass::text AS name, indisvalid, indisclustered, indisprimary, indimmediate,
                obj_description(indexrelid) AS comment, reloptions,
                (SELECT obj_description(oid, 'pg_constraint') FROM pg_constraint WHERE conindid = indexrelid AND contype <> 'f') AS of_constraint,
                (SELECT array_agg(nullif(attstattarget, -1) ORDER BY attnum) FROM pg_attribute WHERE attrelid = indexrelid) AS targets
           FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid WHERE indrelid = 's.t'::regclass ORDER BY 1`,
      );
    const indexesBefore = await indexes();
    const { key } = await runBackup(store, url, ['s']);
    await sql(url, 'DELETE FROM s.ref; DELETE FROM s.t WHERE id > 10');
    const journal = new MemoryJournal();
    await runRestore(store, url, ['s'], key, { journal });
    expect(await stateOf(url, ['s'])).toEqual(before);
    expect(await indexes()).toEqual(indexesBefore);
    const rebuilt = journal.messages.filter((message) => message.startsWith('Reinstating the index'));
    // Neither the one that identifies rows to replicas, nor the one of the exclusion, nor the one that a view groups by.
    expect(new Set(rebuilt).size).toBe(10);
  });
});
