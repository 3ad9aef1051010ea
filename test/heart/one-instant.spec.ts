import pg from 'pg';
import { scopeOf } from '#config';
import { copyOut, planChunks, Session, type SnapshotStep, takeSnapshot } from '#postgres';
import { DownloadedArchive } from '../support/archive.js';
import { runBackup } from '../support/heart.js';
import { newDatabase, oneOf, postgresMajors, sql, storeOfTests } from '../support/servers.js';

const store = storeOfTests();

describe.each(oneOf(postgresMajors, 0))('on %s', (_title, server) => {
  test('amounts that keep moving between two tables add up in every backup', async () => {
    const url = await newDatabase(server);
    const each = 1_000;
    const rows = 20_000;
    await sql(
      url,
      `CREATE SCHEMA bank;
       CREATE TABLE bank.a (id int PRIMARY KEY, amount int, filler text);
       CREATE TABLE bank.b (id int PRIMARY KEY, amount int, filler text);
       INSERT INTO bank.a SELECT i, ${each}, repeat('x', 500) FROM generate_series(1, ${rows}) i;
       INSERT INTO bank.b SELECT * FROM bank.a;`,
    );
    const writer = new pg.Client(url);
    await writer.connect();
    let moves = 0;
    let stopped = false;
    const moving = (async () => {
      while (!stopped) {
        const id = 1 + (moves % rows);
        await writer.query(
          `BEGIN; UPDATE bank.a SET amount = amount - 7 WHERE id = ${id};
           UPDATE bank.b SET amount = amount + 7 WHERE id = ${rows + 1 - id}; COMMIT`,
        );
        moves++;
      }
    })();
    for (let i = 0; i < 2; i++) {
      const before = moves;
      const { key } = await runBackup(store, url, ['bank']);
      const archive = await DownloadedArchive.of(store, key);
      expect(moves).toBeGreaterThan(before);
      const amounts = ['a', 'b'].flatMap((name) =>
        archive.rows('bank', name).map((line) => Number(line.split(',')[1])),
      );
      expect(amounts.length).toBe(2 * rows);
      expect(amounts.reduce((sum, amount) => sum + amount, 0)).toBe(2 * rows * each);
    }
    stopped = true;
    await moving;
    await writer.end();
  });

  /** The statements of a second session while a snapshot is being taken. They give up if they are blocked for long. */
  async function interfere(url: string, statements: string): Promise<boolean> {
    return sql(url, `SET lock_timeout = '300ms'; BEGIN; ${statements}; COMMIT`).then(
      () => true,
      () => false,
    );
  }

  async function rowsSeen(url: string, at: SnapshotStep, statements: string) {
    const session = await Session.open(url, { applicationName: 'test' });
    let done: boolean | undefined;
    const snapshot = await takeSnapshot(session, scopeOf(['s']), async (step) => {
      if (step === at && done === undefined) done = await interfere(url, statements);
    });
    const seen: Record<string, string> = {};
    for (const chunk of planChunks(snapshot.tables, new Set())) {
      let csv = '';
      await copyOut(session, [chunk], snapshot.serverEncoding, [
        {
          write: (bytes) => void (csv += bytes.toString()),
          endEntry: () => undefined,
          end: () => undefined,
        },
      ]);
      seen[chunk.table.name] = csv.trim().split('\n').slice(1).join(' ');
    }
    await session.close();
    return { done, seen };
  }

  async function fiveRows(): Promise<string> {
    const url = await newDatabase(server);
    await sql(
      url,
      'CREATE SCHEMA s; CREATE TABLE s.t (v text); INSERT INTO s.t SELECT i FROM generate_series(1, 5) i',
    );
    return url;
  }

  const OLD = '1 2 3 4 5';

  test.each<[SnapshotStep, boolean, string]>([
    ['listed', true, 'new'],
    ['locked', false, OLD],
    ['exported', false, OLD],
  ])(
    'a TRUNCATE and reload thrown in once it has %s the tables shows one state or the other',
    async (step, done, rows) => {
      const url = await fiveRows();
      expect(await rowsSeen(url, step, "TRUNCATE s.t; INSERT INTO s.t VALUES ('new')")).toEqual({
        done,
        seen: { t: rows },
      });
    },
  );

  test.each<[SnapshotStep, boolean, Record<string, string>]>([
    ['listed', true, { u: '' }],
    ['locked', false, { t: OLD }],
    ['exported', false, { t: OLD }],
  ])('a table that is replaced by another once it has %s the tables', async (step, done, seen) => {
    const url = await fiveRows();
    expect(await rowsSeen(url, step, 'DROP TABLE s.t; CREATE TABLE s.u (v text)')).toEqual({ done, seen });
  });

  test.each<[SnapshotStep, Record<string, string>]>([
    ['listed', { t: OLD, u: 'x' }],
    // Committed before the first query, so it is part of the instant; it was not locked, so all starts over.
    ['locked', { t: OLD, u: 'x' }],
    // Committed after the instant: no part of it.
    ['exported', { t: OLD }],
  ])('a table that is added once it has %s the tables', async (step, seen) => {
    const url = await fiveRows();
    expect(await rowsSeen(url, step, "CREATE TABLE s.u (v text); INSERT INTO s.u VALUES ('x')")).toEqual({
      done: true,
      seen,
    });
  });

  test('a column whose type is changed while it is listed', async () => {
    const url = await fiveRows();
    const { done, seen } = await rowsSeen(
      url,
      'listed',
      "ALTER TABLE s.t ALTER v TYPE int USING v::int, ADD w text DEFAULT 'w'",
    );
    expect({ done, seen }).toEqual({ done: true, seen: { t: '1,w 2,w 3,w 4,w 5,w' } });
  });
});
