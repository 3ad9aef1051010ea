import { splitStatements } from './statements.js';

const texts = (sql: string) => [...splitStatements(sql)].map(({ text }) => text);

test.each([
  ['a string', "SELECT 'a;''b;', U&'\\;', 'a\\';"],
  ['a string with escapes', String.raw`SELECT E'a\';b\\', e''';';`],
  ['a word that ends in e before a quote', String.raw`SELECT date'\';`],
  ['a quoted identifier', 'CREATE TABLE "a;""b;$$ -- /* \'" ("(" int);'],
  ['dollar quotes', 'DO $a$ ;; $b$ ; $$ ; $a$;'],
  ['a dollar quote with letters beyond ASCII', 'DO $\xc3\xa4$ ; $a$ ; $\xc3\xa4$;'],
  ['an identifier with dollars', 'SELECT a$b$ FROM c$$;'],
  ['a parameter', 'CREATE FUNCTION f(int, int) RETURN ($1$2);'],
  ['a comment to the end of the line', "SELECT 1 -- it's; $$ /* \n;"],
  ['nested comments', "SELECT 1 /* ; /* it's */ ; */ + 1;"],
  ['a rule with several actions', 'CREATE RULE r AS ON INSERT TO t DO (DELETE FROM t; NOTIFY t; );'],
  [
    'a body of BEGIN ATOMIC',
    'CREATE FUNCTION s.f() BEGIN ATOMIC SELECT CASE WHEN a THEN (CASE WHEN b THEN 1 END) END; SELECT "end"; END;',
  ],
  ['a replaced one', 'create or replace procedure f() begin /* ; */ atomic SELECT 1; end;'],
  ['a routine that is called begin', "CREATE FUNCTION s.begin() LANGUAGE sql AS 'SELECT 1';"],
  ['a default of type begin and a parameter', 'CREATE FUNCTION s.f(begin atomic) RETURN 1;'],
  ['a table with such words', 'CREATE TABLE begin (atomic int);'],
  ['a comment in a body', 'CREATE FUNCTION f() BEGIN ATOMIC SELECT 1; -- END; \n SELECT 2; END;'],
])('%s does not end a statement early', (_, statement) => {
  expect(texts(`${statement}\nNEXT;`)).toEqual([statement, 'NEXT;']);
});

const DUMP_TEXT = [
  '--',
  '-- Name: t; Type: TABLE; Schema: s; Owner: o',
  '--',
  '',
  '\\restrict word',
  'SET transaction_timeout = 0;',
  "it's; \\unrestrict word",
  '',
].join('\n');

test('text of a dump in a body, a comment or a name is none', () => {
  const statements = [
    `CREATE FUNCTION s.f() RETURNS void LANGUAGE plpgsql AS $_$\n${DUMP_TEXT}$_$;`,
    `COMMENT ON TABLE s.t IS '\n${DUMP_TEXT.replaceAll("'", "''")}';`,
    `COMMENT ON TABLE s.t IS E'\\\\ \n${DUMP_TEXT.replaceAll("'", "\\'").replaceAll('\\u', '\\\\u')}';`,
    `CREATE TABLE s."\n${DUMP_TEXT}" (a int);`,
  ];
  expect(texts(statements.join('\n\n'))).toEqual(statements);
});

test('without standard_conforming_strings, backslashes escape in all strings', () => {
  const off = 'SET standard_conforming_strings = off;';
  const on = 'SET standard_conforming_strings = on;';
  const escaped = String.raw`SELECT 'it\'s;';`;
  const plain = String.raw`SELECT '\';`;
  expect(texts(`${off}\n${escaped}\n${on}\n${plain}\n`)).toEqual([off, escaped, on, plain, '']);
});

test('a line that begins with a backslash stands alone between statements', () => {
  expect(texts('-- comment\n\\restrict a;b\nSET a = 1;\n\\unrestrict')).toEqual([
    '\\restrict a;b\n',
    'SET a = 1;',
    '\\unrestrict',
  ]);
});

test('the parts are the text', () => {
  const text = '\n-- a\n/* b; /* */ */ SELECT 1;\n\n\\connect x\n;SELECT 2; -- unfinished\n';
  const statements = [...splitStatements(text)];
  expect(statements.map((each) => each.before + each.text).join('')).toBe(text);
  expect(statements[0]).toEqual({ before: '\n-- a\n/* b; /* */ */ ', text: 'SELECT 1;' });
});
