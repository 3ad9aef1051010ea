import fc from 'fast-check';
import type pg from 'pg';
import { quoteIdentifier, quoteTable } from '#postgres';

/** Any text that PostgreSQL can hold: no NUL, no lone surrogates. */
const text = fc
  .oneof(
    fc.string({ unit: 'binary' }),
    fc.constantFrom('', '\\.', '\n', '\r\n', '"', ',', '\\N', ' ', "'", 'NULL', '\t'),
  )
  .map((value) => Buffer.from(value.replaceAll('\0', '')).toString());

const name = fc
  .oneof(
    fc.string({ unit: 'grapheme', minLength: 1, maxLength: 12 }),
    fc.constantFrom('a', 'A', 'a.b', 'é', '"', '%', '/', '..', 'select', "'", '\n', ','),
  )
  .map((value) => Buffer.from(value.replaceAll('\0', '')).toString())
  .filter((value) => value !== '' && Buffer.byteLength(value) <= 63);

const dates = fc.date({ min: new Date('0001-01-01'), max: new Date('9999-12-31'), noInvalidDate: true });
const odd = fc.constantFrom<string[]>;

interface ColumnType {
  type: string;
  /** Values as parameters. */
  values: fc.Arbitrary<unknown>;
  /** Whether it can be unique: B-trees know no order of some types. */
  ordered: boolean;
}

const ordered = (type: string, values: fc.Arbitrary<unknown>): ColumnType => ({
  type,
  values,
  ordered: true,
});
const unordered = (type: string, values: fc.Arbitrary<unknown>): ColumnType => ({
  type,
  values,
  ordered: false,
});

const COLUMN_TYPES: ColumnType[] = [
  ordered('text', text),
  ordered(
    'varchar(200)',
    text.map((value) => [...value].slice(0, 200).join('')),
  ),
  ordered('char(5)', odd('', 'x', '     ', 'äöü')),
  ordered('"char"', odd('', 'x', '"')),
  ordered('name', odd('', 'A "name"', 'é')),
  ordered('smallint', fc.integer({ min: -32768, max: 32767 })),
  ordered('integer', fc.integer({ min: -2147483648, max: 2147483647 })),
  ordered('bigint', fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }).map(String)),
  ordered('double precision', fc.double().map(String)),
  ordered('real', fc.float().map(String)),
  ordered(
    'numeric',
    fc.oneof(
      fc.double({ noNaN: true, noDefaultInfinity: true }).map(String),
      odd('NaN', 'Infinity', '0.00', '-1e-300'),
    ),
  ),
  ordered('money', odd('-92233720368547758.08', '0', '1.5')),
  ordered('boolean', fc.boolean()),
  ordered(
    'bytea',
    fc.uint8Array({ maxLength: 64 }).map((bytes) => Buffer.from(bytes)),
  ),
  ordered('bit(3)', odd('000', '101')),
  ordered('varbit', odd('', '1', '0101')),
  ordered(
    'date',
    fc.oneof(
      dates.map((date) => date.toISOString().slice(0, 10)),
      odd('infinity', '0044-03-15 BC', '5874897-12-31'),
    ),
  ),
  ordered('time', odd('24:00', '00:00:00.000001')),
  ordered('timetz', odd('23:59:60+15:59', '00:00-15:59')),
  ordered('timestamp', odd('-infinity', '4713-01-01 BC', '294276-12-31 23:59:59.999999')),
  ordered(
    'timestamptz',
    fc.oneof(
      dates.map((date) => date.toISOString()),
      odd('infinity', '2016-12-31 23:59:60+00'),
    ),
  ),
  ordered('interval', odd('0', '-1 mon +2 days -03:04:05.678901', '178000000 years')),
  unordered('json', odd('{"a" : 1,  "a": 2}', 'null', '1e400', '"\\u00e9"')),
  ordered(
    'jsonb',
    fc.json().map((json) => json.replaceAll('\\u0000', '')),
  ),
  unordered('jsonpath', odd('$', '$.a[*] ? (@ > 1)')),
  unordered('xml', odd('', 'text only', '<a/><b/>', '<a b="c">d &amp; e</a>')),
  ordered('uuid', fc.uuid()),
  ordered('inet', odd('::ffff:1.2.3.4/128', '10.0.0.1/8')),
  ordered('cidr', odd('10.0.0.0/8', '::/0')),
  ordered('macaddr', odd('08:00:2b:01:02:03')),
  ordered('tsvector', odd('', "'it''s':1A,2 b:3")),
  ordered('tsquery', odd('', "a & !b <-> (c | 'd e':*A)")),
  unordered('point', odd('(1e-300,NaN)', '(-0,Infinity)')),
  unordered('path', odd('[(0,0),(1,1)]', '((0,0),(1,1))')),
  ordered('int4range', odd('empty', '(,)', '[1,5)')),
  ordered('numrange', odd('empty', '[1.0,1.0]', '(,NaN]')),
  ordered('tstzrange', odd('[2020-01-01,infinity)')),
  ordered('int8multirange', odd('{}', '{[1,3),[5,)}')),
  ordered('pg_lsn', odd('0/0', '16/B374D848')),
  ordered('xid8', odd('0', '18446744073709551615')),
  ordered('oid', odd('0', '4294967295')),
  ordered('regclass', odd('-', 'pg_class')),
  ordered('text[]', fc.array(fc.option(text), { maxLength: 4 })),
  ordered('integer[]', odd('{}', '[-3:-1]={1,NULL,3}', '{{1,2},{3,4}}')),
  ordered('s.mood', odd('sad', "it's, ok", '')),
  ordered('s.mood[]', odd('{}', '{sad,NULL,""}')),
  ordered(
    's.word',
    text.map((value) => `${value}.`),
  ),
  ordered('s.pair', odd('(,)', '(1,"a,b")', '(-5,"(""x"")")')),
  ordered('s.pair[]', odd('{}', '{"(1,\\"a,b\\")",NULL}')),
];

const TYPES = `
  CREATE TYPE s.mood AS ENUM ('sad', 'it''s, ok', ''); CREATE DOMAIN s.word AS text CHECK (VALUE <> 'never');
  CREATE TYPE s.pair AS (x int, y text)`;

/** The schemas of a random database. */
export const RANDOM_SCHEMAS = ['s', 'Other, "one"'];

const column = fc.record({
  name,
  type: fc.constantFrom(...COLUMN_TYPES),
  notNull: fc.boolean(),
  unique: fc.nat({ max: 3 }).map((one) => one === 0),
});
type Column = typeof column extends fc.Arbitrary<infer Value> ? Value : never;

const rowOf = (columns: Column[]) =>
  fc.tuple(
    ...columns.map(({ type, notNull }) => (notNull ? type.values : fc.option(type.values, { freq: 4 }))),
  );

/** These names are no table's and no column's otherwise. */
const ID = '"the id"';
const REFERENCE = '"the reference"';

const table = fc
  .record({
    schema: fc.constantFrom(...RANDOM_SCHEMAS),
    name,
    kind: fc.constantFrom('', '', 'UNLOGGED'),
    columns: fc.uniqueArray(column, { maxLength: 5, selector: (one) => one.name }),
    /** Features that need a table with an id column. */
    withId: fc.option(
      fc.record({
        id: fc.constantFrom(
          'serial',
          'bigserial',
          'int GENERATED BY DEFAULT AS IDENTITY (START 10 INCREMENT 5)',
          "int DEFAULT nextval('s.shared')",
        ),
        partitioned: fc.boolean(),
        generated: fc.boolean(),
        reference: fc.option(
          fc.record({
            to: fc.nat({ max: 9 }),
            shift: fc.nat({ max: 4 }),
            more: fc.constantFrom(
              '',
              'ON DELETE CASCADE',
              'ON DELETE SET NULL DEFERRABLE INITIALLY DEFERRED',
              'MATCH FULL',
              'ON UPDATE CASCADE DEFERRABLE',
            ),
          }),
        ),
      }),
      { freq: 3 },
    ),
    brokenCheck: fc.nat({ max: 5 }).map((one) => one === 0),
    rows: fc.nat({ max: 6 }),
  })
  .chain(({ rows, ...rest }) =>
    fc.record({
      rows: fc.array(rowOf(rest.columns), { minLength: rows, maxLength: rows }),
      rest: fc.constant(rest),
    }),
  )
  .map(({ rows, rest }) => ({ ...rest, rows }));
export type RandomTable = typeof table extends fc.Arbitrary<infer Value> ? Value : never;

/** The tables of a random database. */
export const randomTables = fc.uniqueArray(table, { maxLength: 5, selector: quoteTable });

function createTable(one: RandomTable, index: number): string {
  const { schema, kind, columns, withId } = one;
  const definitions = columns.map(
    ({ name: label, type, notNull, unique }) =>
      `${quoteIdentifier(label)} ${type.type} ${notNull ? 'NOT NULL' : ''} ${unique && type.ordered && withId?.partitioned !== true ? 'UNIQUE' : ''}`,
  );
  if (withId === null) return `CREATE ${kind} TABLE ${quoteTable(one)} (${definitions.join()})`;
  definitions.push(`${ID} ${withId.id} PRIMARY KEY`, `${REFERENCE} bigint`);
  if (withId.generated) definitions.push(`generated text GENERATED ALWAYS AS (md5(${ID}::text)) STORED`);
  if (!withId.partitioned) return `CREATE ${kind} TABLE ${quoteTable(one)} (${definitions.join()})`;
  const leaf = (remainder: number) =>
    `CREATE ${kind} TABLE ${quoteTable({ schema, name: `leaf ${remainder} of table ${index}` })}
       PARTITION OF ${quoteTable(one)} FOR VALUES WITH (MODULUS 2, REMAINDER ${remainder})`;
  return `CREATE TABLE ${quoteTable(one)} (${definitions.join()}) PARTITION BY HASH (${ID}); ${leaf(0)}; ${leaf(1)}`;
}

async function insertRows(client: pg.Client, one: RandomTable): Promise<void> {
  const { columns, rows } = one;
  if (rows.length === 0) return;
  if (columns.length === 0) {
    await client.query(rows.map(() => `INSERT INTO ${quoteTable(one)} DEFAULT VALUES`).join(';'));
    return;
  }
  const places = rows.map((row, r) => `(${row.map((_, c) => `$${r * row.length + c + 1}`).join()})`);
  await client.query(
    // Random values may not be unique.
    `INSERT INTO ${quoteTable(one)} (${columns.map((each) => quoteIdentifier(each.name)).join()})
     VALUES ${places.join()} ON CONFLICT DO NOTHING`,
    rows.flat(),
  );
}

/** Lets rows point to each other, in circles too, and then puts foreign keys on them. */
function addForeignKeys(all: RandomTable[]): string[] {
  const pairs = all.flatMap((one) => {
    const { reference } = one.withId ?? {};
    // A logged table cannot reference an unlogged one.
    const targets = all.filter(({ withId, kind }) => withId !== null && kind === '');
    const target = targets[(reference?.to ?? 0) % targets.length];
    return reference && target ? [{ one: quoteTable(one), target: quoteTable(target), reference }] : [];
  });
  return [
    ...pairs.map(({ one, target, reference }) => {
      const row = `SELECT ${ID} FROM ${target} ORDER BY 1 LIMIT 1 OFFSET abs(referring.${ID} + ${reference.shift}) % 5`;
      // No table has this name, so that the subquery's table does not hide it.
      return `UPDATE ${one} AS referring SET ${REFERENCE} = (${row})`;
    }),
    ...pairs.map(
      ({ one, target, reference }) =>
        `ALTER TABLE ${one} ADD FOREIGN KEY (${REFERENCE}) REFERENCES ${target} ${reference.more}`,
    ),
  ];
}

/** Creates a random database's schemas, in place of those that are there. */
export async function createRandom(client: pg.Client, all: RandomTable[]): Promise<void> {
  const schemas = RANDOM_SCHEMAS.map(quoteIdentifier);
  await client.query(
    [
      ...schemas.map((schema) => `DROP SCHEMA IF EXISTS ${schema} CASCADE; CREATE SCHEMA ${schema}`),
      TYPES,
      'CREATE SEQUENCE s.shared INCREMENT -3',
      ...all.map(createTable),
    ].join(';'),
  );
  for (const one of all) await insertRows(client, one);
  await client.query(
    [
      ...addForeignKeys(all),
      ...all
        .filter(({ brokenCheck }) => brokenCheck)
        .map((one) => `ALTER TABLE ${quoteTable(one)} ADD CHECK (false) NOT VALID`),
    ].join(';'),
  );
}
