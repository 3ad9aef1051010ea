import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { DownloadedArchive } from '../support/archive.js';
import { BY_HAND, commandsOf, EMPTY_SERVER, follow } from '../support/by-hand.js';
import { runBackup, runRestore, runVerify } from '../support/heart.js';
import { OwnServer } from '../support/own-server.js';
import { newDatabase, servers, sql, storeOfTests } from '../support/servers.js';
import { pgDump } from '../support/state.js';

const FIXTURE = join(__dirname, '../fixtures/field-database.sql');
const onDebians = servers.debianPostgres ? describe : describe.skip;

const store = storeOfTests();

/** Statements, one a row, in the order in which they run; each is run by itself. */
const SPOIL = `
  WITH mine AS (
    SELECT c.oid, c.oid::regclass AS name, c.relkind, c.relispopulated
      FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
       AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')),
  configuration AS (
    SELECT c.oid::regclass AS name, c.relkind, e.extcondition[i] AS condition
      FROM pg_extension e CROSS JOIN generate_subscripts(e.extconfig, 1) AS i JOIN pg_class c ON c.oid = e.extconfig[i])
  SELECT statement FROM (
    SELECT 1, format('TRUNCATE %s', string_agg(format('ONLY %s', name), ', ')) FROM mine WHERE relkind = 'r'
    UNION ALL SELECT 1, format('DELETE FROM ONLY %s %s', name, condition) FROM configuration WHERE relkind = 'r'
    UNION ALL SELECT 1, format('SELECT setval(%L, 123)', name) FROM mine WHERE relkind = 'S'
    UNION ALL SELECT 1, format('SELECT setval(%L, 123)', name) FROM configuration WHERE relkind = 'S'
    UNION ALL SELECT 2, format('SELECT lo_put(%s, 0, ''spoiled''), lo_truncate(lo_open(%1$s, 131072), 9)', oid) FROM pg_largeobject_metadata
    UNION ALL SELECT 3, format('REFRESH MATERIALIZED VIEW %s', name) FROM mine WHERE relkind = 'm' AND relispopulated
    UNION ALL SELECT 4, format('SELECT lo_unlink(%s)', max(oid)) FROM pg_largeobject_metadata
    UNION ALL SELECT 4, format('COMMENT ON LARGE OBJECT %s IS ''spoiled''; ALTER LARGE OBJECT %1$s OWNER TO field_login; REVOKE ALL ON LARGE OBJECT %1$s FROM PUBLIC', oid)
                FROM pg_largeobject_metadata WHERE oid IN (90001, 90002, 90003)
  ) AS spoiling (step, statement) ORDER BY step`;

/** Statements that give name and digest of each object with contents, one a row. */
const DIGESTS = `
  WITH mine AS (
    SELECT c.oid::regclass::text AS name, c.relkind FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND c.relispopulated
       AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')),
  configuration AS (
    SELECT c.oid::regclass::text AS name, c.relkind, e.extcondition[i] AS condition
      FROM pg_extension e CROSS JOIN generate_subscripts(e.extconfig, 1) AS i JOIN pg_class c ON c.oid = e.extconfig[i]),
  readable AS (
    SELECT name, relkind, '' AS condition FROM mine UNION ALL SELECT name, relkind, condition FROM configuration)
  SELECT format('SELECT %1$L AS name, md5(array_agg(%2$s ORDER BY %2$s)::text) AS digest FROM ONLY %1$s t %3$s',
                name, CASE relkind WHEN 'S' THEN 'concat(last_value, is_called)' ELSE 't::text' END, condition) AS statement
    FROM readable WHERE relkind IN ('r', 'm', 'S')
  UNION ALL
  SELECT 'SELECT format(''large object %s'', oid) AS name, md5(lo_get(oid)) AS digest FROM pg_largeobject_metadata'`;

async function statements(url: string, query: string): Promise<string[]> {
  return (await sql<{ statement: string }>(url, query)).map(({ statement }) => statement);
}

async function digests(url: string): Promise<Map<string, string>> {
  const union = (await statements(url, DIGESTS)).map((one) => `(${one})`).join(' UNION ALL ');
  const rows = await sql<{ name: string; digest: string }>(url, union);
  return new Map(rows.map(({ name, digest }) => [name, digest]));
}

async function spoil(url: string): Promise<void> {
  for (const statement of await statements(url, SPOIL))
    await sql(url, `SET session_replication_role = replica; ${statement}`);
}

onDebians('a database as applications have it', () => {
  const binaries = servers.debianPostgres?.binaries ?? '';
  let source: OwnServer;
  let url: string;
  let before: { dump: string; digests: Map<string, string> };
  let key: string;

  beforeAll(async () => {
    source = await OwnServer.postgres({ binaries });
    url = await newDatabase(source.url);
    execFileSync(join(binaries, 'psql'), ['-Xqf', FIXTURE, '-v', 'ON_ERROR_STOP=1', url], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    process.env['PATH'] = `${binaries}:${process.env['PATH']}`;
    before = { dump: await pgDump(url, []), digests: await digests(url) };
    const backup = await runBackup(store, url, '*', { definitions: 'required' });
    expect(backup.omissions).toEqual(['rows of app.remote']);
    key = backup.key;
  });

  afterAll(async () => {
    await source?.stop();
  });

  test('comes back in place after everything in it was spoiled', async () => {
    await spoil(url);
    const spoiled = await digests(url);
    expect([...before.digests].filter(([name, digest]) => spoiled.get(name) === digest)).toEqual([]);
    await runVerify(store, url, '*', key);
    await runRestore(store, url, '*', key);
    expect(await digests(url)).toEqual(before.digests);
    expect(await pgDump(url, [])).toBe(before.dump);
  });

  test('comes back on an empty server by the commands of archive-format.md', async () => {
    const empty = await OwnServer.postgres({ binaries });
    try {
      const target = new URL(empty.url);
      target.pathname = new URL(url).pathname;
      const { file } = await DownloadedArchive.of(store, key);
      const place = { archive: file, server: empty.url, target: target.href };
      follow(commandsOf(EMPTY_SERVER) + commandsOf(BY_HAND), place);
      expect(await digests(target.href)).toEqual(before.digests);
      expect(await pgDump(target.href, [])).toBe(before.dump);
      expect(roles(empty.url)).toBe(roles(source.url));
    } finally {
      await empty.stop();
    }
  });

  /** The roles of a server, without passwords and the superuser of its tests. */
  function roles(server: string): string {
    const args = ['--roles-only', '--no-role-passwords', '-d', server];
    const text = execFileSync(join(binaries, 'pg_dumpall'), args, { encoding: 'utf8' });
    return text.replace(/^\\(un)?restrict .*$/gm, '');
  }
});
