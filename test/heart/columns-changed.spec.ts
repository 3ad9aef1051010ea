import type { Failure } from '#common';
import { MemoryJournal, runBackup, runRestore, runVerify } from '../support/heart.js';
import { newOwnedDatabase, postgresMajors, sql, storeOfTests, oneOf, seed } from '../support/servers.js';
import { stateOf } from '../support/state.js';

const store = storeOfTests();

/** As they were at the time of the backup. */
const SCHEMA = `
  CREATE SCHEMA s;
  CREATE TYPE s.mood AS ENUM ('glad', 'sad');
  CREATE DOMAIN s.code AS varchar(3);
  CREATE TABLE s.parent (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL, number serial, mood s.mood, code s.code, old numeric(5,2)[], "odd, ""name" text);
  CREATE TABLE s.child (id int PRIMARY KEY, parent int REFERENCES s.parent, twice int GENERATED ALWAYS AS (id * 2) STORED, once int);
  CREATE TABLE s.days (day int, note text) PARTITION BY RANGE (day);
  CREATE TABLE s.days_1 PARTITION OF s.days FOR VALUES FROM (0) TO (10);
  CREATE TABLE s.days_2 PARTITION OF s.days FOR VALUES FROM (10) TO (20);
  CREATE TABLE s.only (v int);
  INSERT INTO s.parent (name, mood, code, old, "odd, ""name") SELECT 'a "quoted", ' || i, 'sad', 'c' || i, ARRAY[i, NULL], E'two\\nlines' FROM generate_series(1, 9) i;
  INSERT INTO s.child (id, parent, once) SELECT i, i, i FROM generate_series(1, 9) i;
  INSERT INTO s.days SELECT i, 'note ' || i FROM generate_series(0, 19) i;
  INSERT INTO s.only VALUES (1), (2);`;

/** Later. */
const CHANGES = `
  DELETE FROM s.child;
  DELETE FROM s.parent WHERE id > 3;
  ALTER TABLE s.parent DROP number, DROP old, DROP "odd, ""name",
    ADD added text, ADD state text NOT NULL DEFAULT 'new', ADD long text GENERATED ALWAYS AS (name || '!') STORED,
    ADD counted bigserial UNIQUE, ADD own int GENERATED ALWAYS AS IDENTITY, ADD coded s.code NOT NULL DEFAULT 'xyz';
  CREATE RULE never AS ON INSERT TO s.parent DO INSTEAD NOTHING;
  ALTER TABLE s.parent ENABLE ALWAYS RULE never;
  ALTER TABLE s.child ALTER twice DROP EXPRESSION, DROP once, ADD once int GENERATED ALWAYS AS (id + 1) STORED;
  ALTER TABLE s.days DROP note, ADD note jsonb DEFAULT '{}';
  ALTER TABLE s.only DROP v, ADD w int DEFAULT 5;`;

const DROPPED = [
  's.parent.number',
  's.parent.old',
  's.parent."odd, ""name"',
  's.child.twice',
  's.child.once',
  's."days".note',
  's.only.v',
];

const failureOf = (work: Promise<unknown>) =>
  work.then(
    () => {
      throw new Error('nothing failed');
    },
    (error: unknown) => error as Failure,
  );

// The other one runs with another seed, and both in `npm run test:long`.
describe.each(oneOf(postgresMajors, seed))('on %s, by an ordinary owner,', (_title, server) => {
  let admin: string;
  let url: string;
  let key: string;

  beforeAll(async () => {
    ({ admin, url } = await newOwnedDatabase(server));
    await sql(url, SCHEMA);
    ({ key } = await runBackup(store, url, ['s']));
    await sql(url, CHANGES);
  });

  test('an archive of other columns is refused, and the message says how each can be accepted', async () => {
    const failure = await failureOf(runRestore(store, url, ['s'], key, { tables: ['s.days_1', 's.child'] }));
    expect(failure.code).toBe('ARCHIVE_DOES_NOT_FIT');
    expect(failure.message).toBe(
      'The archive does not fit the repository: the column s.child.twice is generated in the archive only; the column s.child.once is generated here only; the column s.days_1.note is jsonb here and text in the archive.',
    );
    const columns = await failureOf(runRestore(store, url, ['s'], key, { tables: ['s.only'] }));
    expect(columns.message).toBe(
      'The archive does not fit the repository: the column s.only.v is missing here (dropColumns leaves its values out); the archive holds no column s.only.w (allowExtraColumns gives it its default).',
    );
    const halfway = { tables: ['s.days_1'], dropColumns: ['s.days.note'] };
    expect((await failureOf(runRestore(store, url, ['s'], key, halfway))).message).toBe(
      'The archive does not fit the repository: the column s.days_1.note exists here, and would lose its values (allowExtraColumns gives it its default).',
    );
  });

  test.each(['s.parent.nobody', 's.only', 'v', 's.only.v.v'])(
    'a column %s that the archive does not hold is refused',
    async (name) => {
      const failure = await failureOf(
        runRestore(store, url, ['s'], key, { allowExtraColumns: true, dropColumns: [name] }),
      );
      expect(failure.sentence).toBe(
        `This cannot be restored: the archive holds no column ${name}. Nothing was changed.`,
      );
    },
  );

  test('a column without a value is refused before anything changes', async () => {
    await sql(
      url,
      'ALTER TABLE s.only ADD x int, ADD y s.code; UPDATE s.only SET x = 1; ALTER TABLE s.only ALTER x SET NOT NULL; CREATE DOMAIN s.full AS s.code NOT NULL; ALTER TABLE s.only ADD z s.full DEFAULT 1; ALTER TABLE s.only ALTER z DROP DEFAULT',
    );
    const journal = new MemoryJournal();
    const options = { tables: ['s.only'], allowExtraColumns: true, dropColumns: ['s.only.v'], journal };
    const failure = await failureOf(runRestore(store, url, ['s'], key, options));
    expect(failure.message).toBe(
      'The archive does not fit the repository: the archive holds no values for the column s.only.x, which is NOT NULL and has no default; the archive holds no values for the column s.only.z, which is NOT NULL and has no default.',
    );
    expect(journal.notes.sessions).toEqual([{ name: expect.any(String) as unknown }]); // No transaction was begun.
    await sql(url, 'ALTER TABLE s.only DROP x, DROP y, DROP z');
  });

  test('a verification and a restore fill new columns with defaults, and leave old ones out', async () => {
    const before = await stateOf(admin, ['s']);
    const options = { allowExtraColumns: true, dropColumns: DROPPED };
    const map = [
      "s.child fills twice, once with defaults; s.child drops the archive's values of twice, once",
      "s.days_1 fills note with defaults; s.days_1 drops the archive's values of note",
      "s.days_2 fills note with defaults; s.days_2 drops the archive's values of note",
      "s.only fills w with defaults; s.only drops the archive's values of v",
      's.parent fills added, state, long, counted, own, coded with defaults; s.parent drops the archive\'s values of number, old, odd, "name',
    ];
    const { warnings } = await runVerify(store, url, ['s'], key, options);
    expect(warnings.slice(0, map.length)).toEqual(map);
    expect(await stateOf(admin, ['s'])).toEqual(before);
    expect((await runRestore(store, url, ['s'], key, options)).columns).toEqual(map);
    const [parent] = await sql(
      url,
      `SELECT count(*)::int AS rows, max(id) AS id, max(name) AS name, max(mood) AS mood, max(code) AS code, count(added)::int AS added,
              string_agg(DISTINCT state, ',') AS state, string_agg(DISTINCT coded, ',') AS coded,
              count(DISTINCT counted)::int AS counted, count(DISTINCT own)::int AS own, bool_and(long = name || '!') AS long
         FROM s.parent`,
    );
    expect(parent).toEqual({
      rows: 9,
      id: 9,
      name: 'a "quoted", 9',
      mood: 'sad',
      code: 'c9',
      added: 0,
      state: 'new',
      coded: 'xyz',
      counted: 9,
      own: 9,
      long: true,
    });
    expect(
      await sql(
        url,
        `SELECT (SELECT count(*)::int FROM s.child WHERE parent = id AND twice IS NULL AND once = id + 1) AS children,
                (SELECT count(*)::int FROM s.days WHERE note = '{}') AS days, (SELECT array_agg(w) FROM s.only) AS only,
                (SELECT ev_enabled FROM pg_rewrite WHERE rulename = 'never') AS rule`,
      ),
    ).toEqual([{ children: 9, days: 20, only: [5, 5], rule: 'A' }]);
    // The catalogue is as before, and so are the sequences that the archive knows.
    const after = await stateOf(admin, ['s']);
    for (const kind of ['constraints', 'columns', 'tables', 'indexes', 'triggers'])
      expect(after[kind]).toEqual(before[kind]);
    expect(await sql(url, 'SELECT last_value::int AS last FROM s.parent_id_seq')).toEqual([{ last: 9 }]);
  });

  test('columns in another order take their own values', async () => {
    await sql(
      url,
      'DROP TABLE s.child; CREATE TABLE s.child (once int, id int PRIMARY KEY, twice int GENERATED ALWAYS AS (id * 2) STORED, parent int REFERENCES s.parent)',
    );
    const { columns } = await runRestore(store, url, ['s'], key, { tables: ['s.child'] });
    expect(columns).toEqual([]);
    expect(await sql(url, 'SELECT * FROM s.child WHERE id = 7')).toEqual([
      { once: 7, id: 7, twice: 14, parent: 7 },
    ]);
  });
});
