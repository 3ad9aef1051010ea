import { cleanText } from './clean-text.js';

const clean = async (text: string, major = 15) => {
  const { sql, omissions } = await cleanText(Buffer.from(text), major);
  return { sql: sql.toString(), omissions };
};

test("psql's commands are dropped between statements, and nowhere else", async () => {
  const body =
    'CREATE FUNCTION s.f() RETURNS void AS $$\n\\restrict a\nSET transaction_timeout = 0;\n\\connect b\n$$;';
  const text = `--\n\\restrict aB1\n\nSET transaction_timeout = 0;\n${body}\n\\connect "a b"\n\\unrestrict aB1\n\n`;
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
      `${mapping} OPTIONS (\n    "user" 'kept'\n);`.replaceAll('"user"', 'user'),
      `${mapping} OPTIONS (\n    user 'it''s;',\n    password E'a\\\\'');',\n    "pass word" 'b'\n);`,
      `${mapping} OPTIONS (password 'unknown form');`,
    ].join('\n'),
  );
  expect(sql).toBe(
    [
      `${mapping};`,
      `${mapping} OPTIONS (\n    user 'kept'\n);`,
      `${mapping} OPTIONS (\n    user 'it''s;'\n);`,
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
