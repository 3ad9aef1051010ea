import { randomBytes } from 'node:crypto';
import type { RepositoryCheck } from '#contracts';
import { repositoryCheck } from '#contracts/schemas';
import { runBackup, runCheck, runRecover, runRestore } from '../support/heart.js';
import { S3Proxy } from '../support/s3-proxy.js';
import {
  newDatabase,
  newOwnedDatabase,
  oneOf,
  openStore,
  postgresMajors,
  servers,
  sql,
  storeOfTests,
} from '../support/servers.js';

const store = storeOfTests();

/** The kinds of the findings above `ok`. */
function troubles({ findings }: RepositoryCheck): string[] {
  return findings.filter(({ level }) => level !== 'ok').map(({ kind, level }) => `${kind} ${level}`);
}

function found({ findings }: RepositoryCheck, kind: string) {
  return findings.filter((one) => one.kind === kind);
}

describe.each(oneOf(postgresMajors, 1))('on %s', (_title, server) => {
  test('an owner with everything finds no trouble, and an empty repository is said to be empty', async () => {
    const { admin, url, role, database } = await newOwnedDatabase(server);
    await sql(
      admin,
      `ALTER ROLE ${role} CREATEDB; ALTER DATABASE ${database} OWNER TO ${role}; ALTER SCHEMA public OWNER TO ${role}; GRANT EXECUTE ON FUNCTION pg_control_system() TO ${role}`,
    );
    const none = await runCheck(store, url);
    expect(found(none, 'contents')).toMatchObject([
      { level: 'warning', message: 'The repository is empty: it has no tables (0 rows).' },
    ]);
    await sql(url, 'CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (a int REFERENCES a)');
    expect(found(await runCheck(store, url), 'contents')).toMatchObject([
      { level: 'warning', message: 'The repository is empty: its 2 tables hold 0 rows.' },
    ]);
    await sql(url, `INSERT INTO a SELECT generate_series(1, 1000); ANALYZE a`);
    const result = repositoryCheck.parse(await runCheck(store, url, { keyPrefix: 'some/' }));
    expect(troubles(result)).toEqual([]);
    const { port } = new URL(url);
    expect(result).toMatchObject({
      target: { database, port, systemIdentifier: expect.stringMatching(/^\d+$/) as string },
      version: expect.stringMatching(/^\d+\.\d+/) as string,
      tls: null,
      role,
      estimatedRows: 1_000,
      tables: { total: 2, largest: [{ schema: 'public', name: 'a', estimatedRows: 1_000 }, {}] },
      omissions: [],
    });
    expect(found(result, 'locks')[0]?.message).toMatch(/needs about \d+ locks, and the settings promise \d+/);
    expect(new Set(result.findings.map(({ kind }) => kind))).toEqual(
      new Set([
        ...['reachable', 'version', 'tls', 'role', 'backupRights', 'restoreRights', 'recoverRights'],
        ...['contents', 'omissions', 'eventTriggers', 'locks', 'clock'],
        ...['bucketPut', 'bucketGet', 'bucketList', 'bucketAbort', 'bucketDelete', 'bucketLock'],
      ]),
    );
    const left: string[] = [];
    for await (const { key } of store.list('some/', new AbortController().signal)) left.push(key);
    expect(left).toEqual([]);
  });

  test('the statements of the findings are exactly enough to back up, to restore in place and to recover', async () => {
    const { admin, url, role } = await newOwnedDatabase(server);
    const owner = `owner_${randomBytes(4).toString('hex')}`;
    await sql(
      admin,
      `CREATE ROLE ${owner}; GRANT CREATE ON DATABASE ${new URL(admin).pathname.slice(1)} TO ${owner};
       SET ROLE ${owner}; CREATE SCHEMA s; CREATE TABLE s.t (id serial PRIMARY KEY, b text); INSERT INTO s.t (b) VALUES ('secret');
       CREATE TABLE s.own (a int); ALTER TABLE s.own ENABLE ROW LEVEL SECURITY; RESET ROLE;
       ALTER DATABASE ${new URL(admin).pathname.slice(1)} OWNER TO ${owner}; ALTER SCHEMA public OWNER TO ${owner}`,
    );
    const run = async (kind: string) => {
      const result = await runCheck(store, url);
      expect(JSON.stringify(result)).not.toMatch(/secret|pw/);
      const [finding] = found(result, kind);
      expect(finding?.level).toBe(kind === 'backupRights' ? 'problem' : 'warning');
      await sql(admin, finding?.statements.join('\n') ?? '');
      expect(found(await runCheck(store, url), kind)[0]).toMatchObject({ level: 'ok' });
      return finding;
    };
    await expect(runBackup(store, url, ['s'])).rejects.toThrow('may not use');
    expect(await run('backupRights')).toMatchObject({
      statements: [`GRANT pg_read_all_data TO "${role}";`, `ALTER ROLE "${role}" BYPASSRLS;`],
    });
    const { key } = await runBackup(store, url, ['s'], { definitions: 'required' });
    await expect(runRestore(store, url, ['s'], key)).rejects.toThrow('must own');
    expect(await run('restoreRights')).toMatchObject({
      statements: [`GRANT "${owner}" TO "${role}";`],
    });
    await runRestore(store, url, ['s'], key);
    await sql(admin, `REVOKE ${owner} FROM ${role}`);
    expect((await run('recoverRights'))?.statements).toHaveLength(2);
    const whole = await runBackup(store, url, '*', { definitions: 'required' });
    await runRecover(store, url, whole.key, `new_${role}`);
  });

  test("a check runs no code of a table's owner", async () => {
    const url = await newDatabase(server);
    const one = (body: string) =>
      sql(
        url,
        `CREATE OR REPLACE FUNCTION one(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $f$ BEGIN ${body}; END $f$`,
      );
    await one('RETURN 1');
    await sql(
      url,
      `CREATE TABLE t (a int CHECK (one(a) = 1)); INSERT INTO t VALUES (1); CREATE INDEX ON t ((one(1))) WHERE one(2) = 1;
       CREATE STATISTICS st ON (one(3)), a FROM t; CREATE VIEW v AS SELECT one(a) FROM t`,
    );
    await one(`RAISE 'caught'`);
    await expect(sql(url, 'SELECT count(*) FROM t')).rejects.toThrow('caught');
    const result = await runCheck(store, url);
    expect(found(result, 'contents')[0]?.level).toBe('ok');
    expect(JSON.stringify(result)).not.toContain('caught');
  });
});

test('without PostgreSQL or rights on the bucket, a check says so in their words', async () => {
  const proxy = await S3Proxy.to(servers.s3.endpoint);
  const limited = openStore({ ...servers.s3, endpoint: proxy.url });
  proxy.fault = ({ operation }) =>
    ['PutObject', 'AbortMultipartUpload'].includes(operation)
      ? { status: 403, code: 'AccessDenied' }
      : undefined;
  try {
    const result = await runCheck(limited, 'postgres://nobody:pass%21word@127.0.0.1:1/none');
    expect(JSON.stringify(result)).not.toMatch(/pass.*word/);
    expect(result).toMatchObject({ target: null, tables: null });
    expect(troubles(result).toSorted()).toEqual([
      'bucketAbort problem',
      'bucketGet problem',
      'bucketPut problem',
      'reachable problem',
    ]);
    expect(found(result, 'bucketPut')[0]?.message).toMatch(/s3:PutObject\): Access ?Denied/);
    proxy.fault = () => 'cut request';
    const cut = troubles(await runCheck(limited, servers.postgres));
    expect(cut.filter((one) => /^bucket.* problem/.test(one))).toHaveLength(5);
  } finally {
    await proxy.close();
    limited.close();
  }
});
