import fc from 'fast-check';
import { quoteIdentifier } from '#postgres';
import type { ObjectStore } from '#storage';
import { runBackup, runRestore } from '../support/heart.js';
import { newDatabase, openStore, servers, sql } from '../support/servers.js';
import { stateOf } from '../support/state.js';

/** How many random databases are tried; more of them with RANDOM_DATABASES=300. */
const RUNS = Number(process.env['RANDOM_DATABASES'] ?? 40);

let store: ObjectStore;
beforeAll(() => {
  store = openStore(servers.s3);
});
afterAll(() => store.close());

/** Any text that PostgreSQL can hold: no NUL, no lone surrogates. */
const text = fc
  .oneof(
    fc.string({ unit: 'binary' }),
    fc.constantFrom('', '\\.', '\n', '\r\n', '"', ',', '\\N', ' ', "'", 'NULL', '\t'),
  )
  .map((value) => Buffer.from(value.replaceAll('\0', '')).toString());

const name = fc
  .oneof(
    fc.string({ minLength: 1, maxLength: 12 }),
    fc.constantFrom('a', 'A', 'a.b', 'é', '"', '%', '/', '..', 'select'),
  )
  .map((value) => value.replaceAll('\0', ''))
  .filter((value) => value !== '' && Buffer.byteLength(value) <= 63);

/** Types with values of them, as parameters. */
const COLUMN_TYPES: [type: string, values: fc.Arbitrary<unknown>][] = [
  ['text', text],
  ['varchar(200)', text.map((value) => [...value].slice(0, 200).join(''))],
  ['integer', fc.integer({ min: -2147483648, max: 2147483647 })],
  ['bigint', fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }).map(String)],
  ['double precision', fc.double().map(String)],
  ['real', fc.float().map(String)],
  ['numeric', fc.oneof(fc.double({ noNaN: true, noDefaultInfinity: true }).map(String), fc.constant('NaN'))],
  ['boolean', fc.boolean()],
  ['bytea', fc.uint8Array({ maxLength: 64 }).map((bytes) => Buffer.from(bytes))],
  [
    'date',
    fc
      .date({ min: new Date('0001-01-01'), max: new Date('9999-12-31'), noInvalidDate: true })
      .map((date) => date.toISOString().slice(0, 10)),
  ],
  [
    'timestamptz',
    fc
      .date({ min: new Date('0001-01-01'), max: new Date('9999-12-31'), noInvalidDate: true })
      .map((date) => date.toISOString()),
  ],
  ['jsonb', fc.json().map((json) => json.replaceAll('\\u0000', ''))],
  ['text[]', fc.array(fc.option(text), { maxLength: 4 })],
  ['uuid', fc.uuid()],
];

const column = fc.constantFrom(...COLUMN_TYPES.map((_, index) => index));
const table = fc
  .record({
    columns: fc.uniqueArray(fc.tuple(name, column), { maxLength: 5, selector: ([columnName]) => columnName }),
    rows: fc.nat({ max: 6 }),
    kind: fc.constantFrom('', 'UNLOGGED '),
  })
  .chain(({ columns, rows, kind }) =>
    fc.record({
      kind: fc.constant(kind),
      columns: fc.constant(columns),
      rows: fc.array(
        fc.tuple(
          ...columns.map(([, index]) =>
            fc.option(COLUMN_TYPES[index]?.[1] ?? fc.constant(null), { freq: 4 }),
          ),
        ),
        { minLength: rows, maxLength: rows },
      ),
    }),
  );
const schema = fc.dictionary(name, table, { maxKeys: 4 });

test(`${RUNS} random databases come back as they were`, async () => {
  const url = await newDatabase();
  await fc.assert(
    fc.asyncProperty(schema, async (tables) => {
      await sql(url, 'DROP SCHEMA IF EXISTS s CASCADE; CREATE SCHEMA s');
      for (const [tableName, { kind, columns, rows }] of Object.entries(tables)) {
        const quoted = `s.${quoteIdentifier(tableName)}`;
        const definitions = columns.map(
          ([columnName, index]) => `${quoteIdentifier(columnName)} ${COLUMN_TYPES[index]?.[0] ?? 'text'}`,
        );
        await sql(url, `CREATE ${kind}TABLE ${quoted} (${definitions.join(', ')})`);
        for (const row of rows)
          await sql(
            url,
            columns.length === 0
              ? `INSERT INTO ${quoted} DEFAULT VALUES`
              : `INSERT INTO ${quoted} VALUES (${row.map((_, i) => `$${i + 1}`).join(', ')})`,
            row,
          );
      }
      const before = await stateOf(url, ['s']);
      const { key } = await runBackup(store, url, ['s']);
      for (const tableName of Object.keys(tables)) await sql(url, `TRUNCATE s.${quoteIdentifier(tableName)}`);
      await runRestore(store, url, ['s'], key);
      expect(await stateOf(url, ['s'])).toEqual(before);
    }),
    { numRuns: RUNS, endOnFailure: true },
  );
}, 600_000);
