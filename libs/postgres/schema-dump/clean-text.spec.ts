import { cleanText } from './clean-text.js';

const clean = async (text: string, major = 15) => {
  const { schema, omissions } = await cleanText(Buffer.from(text), major);
  return { sql: schema.sql.toString(), omissions };
};

test("psql's commands are dropped between statements, and nowhere else", async () => {
  const body =
    'CREATE FUNCTION s.f() RETURNS void AS $$\n\\restrict a\nSET transaction_timeout = 0;\n\\connect b\n$$;';
  const text = `--\n\\restrict aB1\n\nSET transaction_timeout = 0;\n${body}\n\\encoding UTF8\n\\unrestrict aB1\n\n`;
  expect(await clean(text)).toEqual({ sql: `--\n\n\n${body}\n\n`, omissions: [] });
  expect((await clean(text, 17)).sql).toContain(`\nSET transaction_timeout = 0;\n${body}`);
  await expect(clean('SELECT 1;\n\\! rm\n')).rejects.toMatchObject({ code: 'DEFINITIONS_FAILED' });
});

test.each([
  ['ALTER TABLE ONLY s.t ALTER COLUMN a SET (pg_attver=4860826304);', ''],
  [
    'ALTER FOREIGN TABLE ONLY "s "".t"."ä;" ALTER COLUMN "a b" SET (pg_attver=26069993144, n_distinct=5);',
    'ALTER FOREIGN TABLE ONLY "s "".t"."ä;" ALTER COLUMN "a b" SET (n_distinct=5);',
  ],
  ['ALTER MATERIALIZED VIEW ONLY s.m ALTER COLUMN a SET (n_distinct=-1, pg_attver=1);', undefined],
  ['ALTER TABLE ONLY s.t ALTER COLUMN a SET (n_distinct=-1);', 'same'],
  [`ALTER TABLE ONLY s.t ALTER COLUMN a SET DEFAULT 'SET (pg_attver=1);';`, 'same'],
  [`COMMENT ON TABLE s.t IS 'ALTER TABLE ONLY s.t ALTER COLUMN a SET (pg_attver=1);';`, 'same'],
])('%s', async (statement, cleaned) => {
  const expected = cleaned === 'same' ? statement : (cleaned ?? statement.replace(', pg_attver=1', ''));
  expect((await clean(`${statement}\n`)).sql).toBe(`${expected}\n`);
});

test('user mappings keep the user, and nothing else that may be secret', async () => {
  const mapping = 'CREATE USER MAPPING FOR "ä b" SERVER s';
  const { sql, omissions } = await clean(
    [
      `${mapping};`,
      `${mapping} OPTIONS (\n    "user" 'kept'\n);`,
      `${mapping} OPTIONS (\n    "user" 'it''s;',\n    password E'a\\\\'');',\n    "pass word" 'b'\n);`,
      `${mapping} OPTIONS (password 'unknown form');`,
    ].join('\n'),
  );
  expect(sql).toBe(
    [
      `${mapping};`,
      `${mapping} OPTIONS (\n    "user" 'kept'\n);`,
      `${mapping} OPTIONS (\n    "user" 'it''s;'\n);`,
      `${mapping};`,
    ].join('\n'),
  );
  expect(omissions.map(({ what }) => what)).toEqual([
    'options of the user mapping of "ä b" for the server s',
    'options of the user mapping of "ä b" for the server s',
  ]);
});

test('subscriptions lose their connection', async () => {
  const { sql, omissions } = await clean(
    `CREATE SUBSCRIPTION s CONNECTION 'host=h password=''x y''' PUBLICATION p WITH (connect = false, slot_name = 's');`,
  );
  expect(sql).toBe(
    `CREATE SUBSCRIPTION s CONNECTION '' PUBLICATION p WITH (connect = false, slot_name = 's');`,
  );
  expect(omissions).toEqual([
    {
      kind: 'secret',
      count: 1,
      what: 'the connection of the subscription s',
      why: "archives hold no passwords; set it again: ALTER SUBSCRIPTION s CONNECTION '…'",
    },
  ]);
});

test('the database itself is a separate text', async () => {
  const comment = (entry: string) => `\n--\n-- TOC entry ${entry}; Owner: o\n--\n\n`;
  const text = [
    '-- head\n\n-- Started on 2026-01-01\n\nSET a = 1;\n',
    `${comment('9 (class 1262 OID 7)\n-- Name: d; Type: DATABASE; Schema: -')}CREATE DATABASE d;\nALTER DATABASE d OWNER TO o;\n`,
    '\\encoding UTF8\n\\connect d\nSET a = 1;\n',
    `${comment('8 (class 0 OID 0)\n-- Name: d; Type: DATABASE PROPERTIES; Schema: -')}ALTER DATABASE d SET x = 'y';\n`,
    "\\connect d\nSET a = 1;\nSELECT pg_catalog.set_config('search_path', '', false);\n",
    `${comment('3 (class 1259 OID 5)\n-- Name: a b; Type: TABLE; Schema: s')}CREATE TABLE s."a\nb" (\n);\n`,
    `${comment('4 (class 1259 OID 6)\n-- Name: i; Type: INDEX; Schema: s')}CREATE INDEX i ON s."a\nb" (x);\n`,
    `${comment('2 (class 0 OID 0)\n-- Dependencies: 9\n-- Name: DATABASE d; Type: ACL; Schema: -')}GRANT CONNECT ON DATABASE d TO r;\n`,
    `${comment('1 (class 0 OID 0)\n-- Dependencies: 3 8\n-- Name: TABLE "a b"; Type: ACL; Schema: s')}GRANT SELECT ON TABLE s."a\nb" TO r;\n`,
  ].join('');
  const { schema, database } = await cleanText(Buffer.from(text), 15);
  expect(database.sql.toString().replace(/\n{2,}/g, '\n')).toBe(
    `-- head\nSET a = 1;\n--\n-- Name: d; Type: DATABASE; Schema: -; Owner: o\n--\nCREATE DATABASE d;\nALTER DATABASE d OWNER TO o;
--\n-- Name: d; Type: DATABASE PROPERTIES; Schema: -; Owner: o\n--\nALTER DATABASE d SET x = 'y';
--\n-- Name: DATABASE d; Type: ACL; Schema: -; Owner: o\n--\nGRANT CONNECT ON DATABASE d TO r;\n`,
  );
  const listed = schema.statements.map(({ offset, length, ...object }) => ({
    ...object,
    sql: schema.sql.toString('utf8', offset, offset + length),
  }));
  const table = { schema: 's', class: 1259, oid: 5 };
  expect(listed).toEqual([
    { kind: 'SET', schema: null, name: '', class: 0, oid: 0, sql: 'SET a = 1;' },
    { ...table, kind: 'TABLE', name: 'a\nb', sql: 'CREATE TABLE s."a\nb" (\n);' },
    { ...table, oid: 6, kind: 'INDEX', name: 'i', sql: 'CREATE INDEX i ON s."a\nb" (x);' },
    { ...table, kind: 'ACL', name: 'TABLE "a b"', sql: 'GRANT SELECT ON TABLE s."a\nb" TO r;' },
  ]);
  expect(schema.beforeRows).toBe(2);
  expect(database.statements.map(({ kind, oid }) => [kind, oid])).toEqual([
    ['SET', 0],
    ['DATABASE', 7],
    ['DATABASE', 7],
    ['DATABASE PROPERTIES', 7],
    ['ACL', 7],
  ]);
});
