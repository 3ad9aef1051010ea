import { DownloadedArchive } from '../support/archive.js';
import { runBackup, runRestore, runVerify } from '../support/heart.js';
import { newDatabase, oneOf, postgresMajors, sql, storeOfTests } from '../support/servers.js';
import { stateOf } from '../support/state.js';

const store = storeOfTests();

const TYPES = `
  CREATE TYPE s.address AS (street text, zip text);
  CREATE DOMAIN s.money AS numeric(10, 4); CREATE DOMAIN s.price AS s.money CHECK (VALUE >= 0);
  CREATE DOMAIN s.word AS text COLLATE "C";
  CREATE TYPE s.mood AS ENUM ('glad', 'sad');
  CREATE TABLE s.line (id int, amount numeric(6, 2));
  CREATE TYPE s.span AS RANGE (subtype = numeric);
  CREATE TYPE s.outer_one AS (moods s.mood[], line s.line);`;
const TABLE = `CREATE TABLE s.t (id int, a s.address[], p s.price, w s.word, o s.outer_one, r s.span, m s.span_multirange)`;
const ROWS = `INSERT INTO s.t VALUES (1, ARRAY[('High St', 'E1')::s.address], 1.2345, 'w', (ARRAY['glad']::s.mood[], (1, 2.25)::s.line), '[1,2)', '{[1,2)}')`;

/** A change of a definition, and how the refusal names it. */
const CHANGES: [string, string][] = [
  [
    'ALTER TYPE s.address DROP ATTRIBUTE street; ALTER TYPE s.address ADD ATTRIBUTE street text',
    'the type s.address is (zip text, street text) here and (street text, zip text) in the archive',
  ],
  [
    'ALTER TYPE s.address RENAME ATTRIBUTE zip TO code',
    'the type s.address is (street text, code text) here and (street text, zip text) in the archive',
  ],
  [
    'DROP DOMAIN s.money CASCADE; CREATE DOMAIN s.money AS numeric(10, 2); CREATE DOMAIN s.price AS s.money; ALTER TABLE s.t ADD p s.price',
    'the type s.money is a domain of numeric(10,2) here and a domain of numeric(10,4) in the archive',
  ],
  [
    'ALTER TABLE s.t DROP w; DROP DOMAIN s.word; CREATE DOMAIN s.word AS text; ALTER TABLE s.t ADD w s.word',
    'the type s.word is a domain of text here and a domain of text COLLATE "C" in the archive',
  ],
  [
    "ALTER TYPE s.mood RENAME TO old_mood; CREATE TYPE s.mood AS ENUM ('sad', 'glad'); ALTER TABLE s.t DROP o; DROP TYPE s.outer_one; CREATE TYPE s.outer_one AS (moods s.mood[], line s.line); ALTER TABLE s.t ADD o s.outer_one",
    'the type s.mood lacks labels of the archive, or has them in another order',
  ],
  [
    'ALTER TABLE s.t DROP o; DROP TYPE s.outer_one; ALTER TABLE s.line ALTER amount TYPE numeric(6, 1); CREATE TYPE s.outer_one AS (moods s.mood[], line s.line); ALTER TABLE s.t ADD o s.outer_one',
    'the type s.line is (id integer, amount numeric(6,1)) here and (id integer, amount numeric(6,2)) in the archive',
  ],
  [
    'DROP TYPE s.span CASCADE; CREATE TYPE s.span AS RANGE (subtype = float8); ALTER TABLE s.t ADD r s.span, ADD m s.span_multirange',
    'the type s.span is a range of double precision pg_catalog.float8_ops here and a range of numeric pg_catalog.numeric_ops in the archive',
  ],
  [
    'DROP TYPE s.address CASCADE; CREATE DOMAIN s.address AS text; ALTER TABLE s.t ADD a s.address[]',
    'the type s.address is a domain of text here and (street text, zip text) in the archive',
  ],
];

describe.each(oneOf(postgresMajors, 0))('on %s', (_title, server) => {
  test('another definition of a type of the same name does not fit, and one that means the same does', async () => {
    const url = await newDatabase(server);
    await sql(url, `CREATE SCHEMA s; ${TYPES} ${TABLE}; ${ROWS}`);
    const { key } = await runBackup(store, url, ['s']);
    for (const [change, told] of CHANGES) {
      await sql(url, `DROP SCHEMA s CASCADE; CREATE SCHEMA s; ${TYPES} ${TABLE}; ${change}`);
      for (const attempt of [runVerify, runRestore])
        await expect(attempt(store, url, ['s'], key)).rejects.toMatchObject({
          code: 'ARCHIVE_DOES_NOT_FIT',
          message: expect.stringContaining(told) as string,
        });
    }
    // The same table, with types of the same shape in the schema that its rows go to, and with one more label.
    await sql(url, `DROP SCHEMA s CASCADE; CREATE SCHEMA s; ${TYPES} ${TABLE}`);
    await sql(url, `CREATE SCHEMA "s, 2"; ${`${TYPES} ${TABLE}`.replaceAll(/\bs\./g, '"s, 2".')}`);
    await sql(url, `ALTER TYPE "s, 2".mood ADD VALUE 'so so' BEFORE 'sad'`);
    await runRestore(store, url, ['s'], key, { intoSchemas: { s: 's, 2' } });
    expect(await sql(url, 'SELECT (a[1]).zip, p, (o).line FROM "s, 2".t')).toEqual([
      { zip: 'E1', p: '1.2345', line: '(1,2.25)' },
    ]);
    await runVerify(store, url, ['s'], key);
  });

  test('quote_all_identifiers changes no name of a type, and schemas may have commas in their names', async () => {
    const url = await newDatabase(server);
    const schemas = ['a, b', 's'];
    await sql(
      url,
      `CREATE SCHEMA s; CREATE SCHEMA "a, b"; ${TYPES} ${TABLE}; ${ROWS}; CREATE TABLE "a, b".t (a s.address, b text[]);
      INSERT INTO "a, b".t VALUES (('x', 'y'), '{}')`,
    );
    const before = await stateOf(url, schemas);
    const plain = await runBackup(store, url, schemas);
    const database = new URL(url).pathname.slice(1);
    await sql(url, `ALTER DATABASE ${database} SET quote_all_identifiers = on`);
    const quoting = await runBackup(store, url, schemas);
    const [one, other] = await Promise.all(
      [plain, quoting].map(async ({ key }) => (await DownloadedArchive.of(store, key)).manifest()),
    );
    expect(other?.schemaFingerprint).toBe(one?.schemaFingerprint);
    expect(other?.types).toEqual(one?.types);
    for (const { key } of [plain, quoting]) {
      await sql(url, 'TRUNCATE s.t, "a, b".t');
      await runRestore(store, url, schemas, key);
    }
    await sql(url, `ALTER DATABASE ${database} RESET quote_all_identifiers`);
    expect(await stateOf(url, schemas)).toEqual(before);
  });
});
