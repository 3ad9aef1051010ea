import { randomBytes } from 'node:crypto';
import pg from 'pg';
import { type Failure } from '#common';
import { DownloadedArchive } from '../support/archive.js';
import { runBackup, runRestore } from '../support/heart.js';
import {
  newDatabase,
  newOwnedDatabase,
  oneOf,
  postgresMajors,
  servers,
  sql,
  storeOfTests,
  thorough,
} from '../support/servers.js';
import { stateOf } from '../support/state.js';

const store = storeOfTests();

async function encodedDatabase(server: string, encoding: string): Promise<string> {
  const name = `test_${randomBytes(6).toString('hex')}`;
  await sql(
    server,
    `CREATE DATABASE ${name} TEMPLATE template0 ENCODING '${encoding}' LC_COLLATE 'C' LC_CTYPE 'C'`,
  );
  const url = new URL(server);
  url.pathname = `/${name}`;
  return url.href;
}

describe.each(oneOf(postgresMajors, 1))('on %s', (_title, server) => {
  test('a LATIN1 database comes back byte for byte', async () => {
    const url = await encodedDatabase(server, 'LATIN1');
    await sql(
      url,
      'CREATE SCHEMA s; CREATE TABLE s."größe" ("ü" text); INSERT INTO s."größe" VALUES (\'äöüß£©\'), (chr(255))',
    );
    const before = await stateOf(url, ['s']);
    const { key } = await runBackup(store, url, ['s'], { definitions: 'auto' });
    const archive = await DownloadedArchive.of(store, key);
    expect(archive.manifest().server.encoding).toBe('LATIN1');
    expect(archive.read('data/s.größe/000001.csv').includes(Buffer.from('äöüß£©', 'latin1'))).toBe(true);
    await sql(url, 'DELETE FROM s."größe"');
    await runRestore(store, url, ['s'], key);
    expect(await stateOf(url, ['s'])).toEqual(before);
  });

  test('an SQL_ASCII database comes back byte for byte in any encoding', async () => {
    const url = await encodedDatabase(server, 'SQL_ASCII');
    await sql(
      url,
      "CREATE SCHEMA s; CREATE TABLE s.t (a text); INSERT INTO s.t SELECT convert_from(decode('fffe41c3', 'hex'), 'SQL_ASCII') FROM generate_series(1, 2); INSERT INTO s.t VALUES ('é')",
    );
    const bytes = () =>
      sql(url, "SELECT encode(convert_to(a, 'SQL_ASCII'), 'hex') AS hex FROM s.t ORDER BY 1");
    const before = await bytes();
    expect(before).toEqual([{ hex: 'c3a9' }, { hex: 'fffe41c3' }, { hex: 'fffe41c3' }]);
    const { key } = await runBackup(store, url, ['s'], { definitions: 'auto' });
    await sql(url, 'TRUNCATE s.t');
    await runRestore(store, url, ['s'], key);
    expect(await bytes()).toEqual(before);
  });

  test('names that are not valid UTF-8 are refused by name', async () => {
    const url = await encodedDatabase(server, 'SQL_ASCII');
    const client = new pg.Client(url);
    await client.connect();
    await client.query('CREATE SCHEMA s; SET client_encoding TO latin1');
    await client.query(
      `DO $$ BEGIN EXECUTE convert_from('\\x435245415445205441424c4520732e226772f6df65222028612074657874' || ')'::bytea, 'SQL_ASCII'); END $$`,
    );
    await client.query('CREATE TABLE s."größe" (a int)');
    await client.end();
    await expect(runBackup(store, url, ['s'], { definitions: 'auto' })).rejects.toMatchObject({
      code: 'NAMES_NOT_UTF8',
      message: expect.stringMatching(/has names that are not valid UTF-8: table gr\\xf6\\xdfe\.$/) as string,
    });
  });

  test.each([
    ['a comment', "COMMENT ON TABLE s.t IS 'gr\xf6\xdfe'", 'DATABASE_QUERY_FAILED'],
    ['the body of a function', "CREATE FUNCTION s.f() RETURNS text RETURN 'gr\xf6\xdfe'", undefined],
  ])('%s that is not valid UTF-8 fails the backup, which says so', async (_object, statement, otherwise) => {
    const url = await encodedDatabase(server, 'SQL_ASCII');
    await sql(url, 'CREATE SCHEMA s; CREATE TABLE s.t (a text)');
    await sql(
      url,
      `DO $$ BEGIN EXECUTE convert_from('\\x${Buffer.from(statement, 'latin1').toString('hex')}', 'SQL_ASCII'); END $$`,
    );
    await expect(runBackup(store, url, ['s'], { definitions: 'required' })).rejects.toMatchObject({
      code: 'DEFINITIONS_FAILED',
      persistence: 'permanent',
      message: expect.stringMatching(/^The database has definitions that are not valid UTF-8, /) as string,
    });
    const named = await runBackup(store, url, ['s'], { definitions: 'auto' }).then(
      ({ omissions }) => omissions,
      ({ code, hint }: Failure) => [code, hint?.replace(/\. .*/, '')],
    );
    expect(named).toEqual(
      otherwise === undefined
        ? ['definitions']
        : [
            otherwise,
            'A database of the encoding SQL_ASCII can hold names, comments, defaults and checks that are not valid UTF-8',
          ],
    );
  });

  test('an archive of another encoding is refused', async () => {
    const [from, to] = [await encodedDatabase(server, 'LATIN1'), await newDatabase(server)];
    for (const url of [from, to]) await sql(url, 'CREATE SCHEMA s; CREATE TABLE s.t (a text)');
    const { key } = await runBackup(store, from, ['s'], { definitions: 'auto' });
    await expect(runRestore(store, to, ['s'], key)).rejects.toThrow(
      "the database's encoding is UTF8 here and LATIN1 in the archive",
    );
  });

  test('tables that force row security need BYPASSRLS for a backup, and ownership for a restore', async () => {
    const { admin, role, url } = await newOwnedDatabase(server);
    await sql(
      url,
      `CREATE SCHEMA s; CREATE TABLE s.a (x int); INSERT INTO s.a VALUES (1), (2); CREATE TABLE s.b (x int);
      ALTER TABLE s.a ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY; ALTER TABLE s.b ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
      CREATE POLICY p ON s.a USING (x = 1)`,
    );
    const failure = (await runBackup(store, url, ['s'], { definitions: 'auto' }).catch(
      (error: unknown) => error,
    )) as Failure;
    expect(failure).toMatchObject({ code: 'ROW_SECURITY', persistence: 'permanent' });
    expect(failure.sentence).toBe(
      `Row security may hide rows of s.a, s.b from the role ${role}. Have a superuser run: ALTER ROLE "${role}" BYPASSRLS;`,
    );
    await sql(admin, `ALTER ROLE ${role} BYPASSRLS`);
    const before = await stateOf(admin, ['s']);
    const { key, entities } = await runBackup(store, url, ['s'], { definitions: 'auto' });
    expect(entities).toBe(2);
    await sql(admin, `ALTER ROLE ${role} NOBYPASSRLS; TRUNCATE s.a`);
    await runRestore(store, url, ['s'], key);
    expect(await stateOf(admin, ['s'])).toEqual(before);
  });

  test('tables of extensions are left out and named; types of extensions come back', async () => {
    const url = await newDatabase(server);
    const available = await sql<{ name: string }>(
      url,
      "SELECT name FROM pg_available_extensions WHERE name IN ('citext', 'hstore') ORDER BY 1",
    );
    await sql(url, 'CREATE SCHEMA s');
    for (const { name } of available)
      await sql(
        url,
        `CREATE EXTENSION ${name} SCHEMA s; CREATE TABLE s.with_${name} (a s.${name}); INSERT INTO s.with_${name} VALUES ('a=>1'), (NULL)`,
      );
    const before = await stateOf(url, ['s']);
    const { key } = await runBackup(store, url, ['s'], { definitions: 'auto' });
    for (const { name } of available) await sql(url, `TRUNCATE s.with_${name}`);
    await runRestore(store, url, ['s'], key);
    expect(await stateOf(url, ['s'])).toEqual(before);
  });

  test('a database that lacks an extension, or a type that only a newer server knows, is a refusal', async () => {
    const from = await newDatabase(server);
    const [extension] = await sql<{ name: string }>(
      from,
      "SELECT name FROM pg_available_extensions WHERE name IN ('citext', 'hstore', 'ltree', 'cube') LIMIT 1",
    );
    const name = extension?.name ?? '';
    await sql(
      from,
      `CREATE SCHEMA s; CREATE EXTENSION ${name} SCHEMA public; CREATE TABLE s.t (a public.${name}[], b int)`,
    );
    const { key } = await runBackup(store, from, ['s'], { definitions: 'auto' });
    const to = await newDatabase(server);
    await sql(to, 'CREATE SCHEMA s; CREATE TABLE s.t (a text[], b int)');
    await expect(runRestore(store, to, ['s'], key)).rejects.toThrow(
      `The archive does not fit the repository: the extension ${name} is missing here; the column s.t.a is text[] here and public.${name}[] in the archive.`,
    );
    if (server !== servers.postgres) {
      const newer = await newDatabase(servers.postgres);
      await sql(newer, 'CREATE SCHEMA s; CREATE TABLE s.t (a text[], b int, c oidvector)');
      const archive = await runBackup(store, newer, ['s'], { definitions: 'auto' });
      const failure = (await runRestore(store, to, ['s'], archive.key).catch(
        (error: unknown) => error,
      )) as Failure;
      expect(failure.sentence).toMatch(
        /the column s\.t\.c is missing here\b.* The archive comes from PostgreSQL 18\.\S+, this server is 15\..*: it cannot restore types that it does not know\.$/,
      );
    }
  });

  test('keys from and to schemas outside stay, and hold', async () => {
    const url = await newDatabase(server);
    await sql(
      url,
      `CREATE SCHEMA s; CREATE SCHEMA o; CREATE TABLE o.up (a int PRIMARY KEY); CREATE TABLE s.t (a int PRIMARY KEY REFERENCES o.up); CREATE TABLE o.down (a int REFERENCES s.t ON DELETE CASCADE);
      INSERT INTO o.up VALUES (1), (2); INSERT INTO s.t VALUES (1); INSERT INTO o.down VALUES (1)`,
    );
    const before = await stateOf(url, ['s', 'o']);
    const { key } = await runBackup(store, url, ['s'], { definitions: 'auto' });
    await sql(url, 'INSERT INTO s.t VALUES (2)');
    await runRestore(store, url, ['s'], key);
    expect(await stateOf(url, ['s', 'o'])).toEqual(before);
    await sql(url, 'TRUNCATE s.t, o.down; DELETE FROM o.up');
    await expect(runRestore(store, url, ['s'], key)).rejects.toThrow(
      'the foreign key t_a_fkey of s.t is violated',
    );
  });

  const many = thorough ? 2_000 : 500;
  test(`${many} tables`, async () => {
    const url = await newDatabase(server);
    const client = new pg.Client(url);
    await client.connect();
    await client.query('CREATE SCHEMA s');
    for (let i = 0; i < many; i += 100)
      await client.query(
        Array.from({ length: 100 }, (_, j) => `CREATE TABLE s.t${i + j} AS SELECT ${i + j} AS a`).join(';'),
      );
    await client.end();
    const { key, entities } = await runBackup(store, url, ['s'], { definitions: 'auto' });
    expect(entities).toBe(many);
    expect((await DownloadedArchive.of(store, key)).manifest().tables.length).toBe(many);
    await sql(url, `UPDATE s.t7 SET a = -1; DELETE FROM s.t${many - 1}`);
    const outcome = await runRestore(store, url, ['s'], key).catch(
      (error: unknown) => (error as Failure).sentence,
    );
    if (typeof outcome === 'string')
      expect(outcome).toMatch(/ran out of memory for locks\. .*max_locks_per_transaction/);
    else
      expect(
        await sql(url, `SELECT (SELECT a FROM s.t7) AS seven, (SELECT a FROM s.t${many - 1}) AS last`),
      ).toEqual([{ seven: 7, last: many - 1 }]);
  });
});

test('a row that is far longer than any buffer goes out and comes back', async () => {
  const megabytes = thorough ? 200 : 40;
  const url = await newDatabase();
  await sql(
    url,
    `CREATE SCHEMA s; CREATE TABLE s.t (a int, b text); INSERT INTO s.t VALUES (1, repeat('0123456789abcdef', ${megabytes} * 65536)), (2, 'small')`,
  );
  const hash = () => sql(url, 'SELECT a, length(b) AS length, md5(b) AS md5 FROM s.t ORDER BY a');
  const before = await hash();
  const { key } = await runBackup(store, url, ['s'], { definitions: 'auto' });
  await sql(url, 'TRUNCATE s.t');
  await runRestore(store, url, ['s'], key);
  expect(await hash()).toEqual(before);
});
