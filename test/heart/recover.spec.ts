import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { runBackup, runDrill, runRecover } from '../support/heart.js';
import { OwnServer } from '../support/own-server.js';
import { newDatabase, servers, sql, storeOfTests } from '../support/servers.js';
import { pgDump } from '../support/state.js';

const FIXTURE = join(__dirname, '../fixtures/field-database.sql');
const onDebians = servers.debianPostgres ? describe : describe.skip;
const store = storeOfTests();

onDebians('a database as applications have it', () => {
  const binaries = servers.debianPostgres?.binaries ?? '';
  let source: OwnServer;
  let target: OwnServer;
  let url: string;
  let key: string;

  beforeAll(async () => {
    source = await OwnServer.postgres({ binaries });
    target = await OwnServer.postgres({ binaries });
    process.env['PATH'] = `${binaries}:${process.env['PATH']}`;
    url = await newDatabase(source.url);
    execFileSync(join(binaries, 'psql'), ['-Xqf', FIXTURE, '-v', 'ON_ERROR_STOP=1', url], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    await sql(source.url, 'CREATE ROLE only_member IN ROLE field_owner');
    ({ key } = await runBackup(store, url, '*', { definitions: 'required' }));
  });
  afterAll(async () => {
    await source?.stop();
    await target?.stop();
  });

  test('is recovered on an empty server with its roles', async () => {
    const name = new URL(url).pathname.slice(1);
    const { losses, createdRoles } = await runRecover(store, target.url, key, name, { createRoles: true });
    expect(losses).toEqual([]);
    // Nothing in the database names the others.
    expect(createdRoles).toEqual(['field Reader', 'field_login', 'field_owner']);
    const recovered = new URL(target.url);
    recovered.pathname = `/${name}`;
    expect(await pgDump(recovered.href, [])).toBe(await pgDump(url, []));
  });

  test('keeps objects that only a superuser may own, if their owner is created without that attribute', async () => {
    const owned = await newDatabase(source.url);
    await sql(
      owned,
      `CREATE ROLE boss SUPERUSER; SET ROLE boss;
       CREATE FUNCTION f() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
       CREATE EVENT TRIGGER watch ON ddl_command_end EXECUTE FUNCTION f();
       CREATE FOREIGN DATA WRAPPER wrapper; CREATE PUBLICATION everything FOR ALL TABLES`,
    );
    const backup = await runBackup(store, owned, '*', { definitions: 'required' });
    const recovering = (name: string, more: object) =>
      runRecover(store, target.url, backup.key, name, { createRoles: true, ...more });
    const stays = (what: string) => `${what} (it stays with this role, because boss may not own it)`;
    const lost = [stays('foreign data wrapper wrapper'), stays('event trigger watch')];
    const foreseen: string[] = [];
    const tell = (text: string) => foreseen.push(text);
    expect((await recovering('without_boss', { foreseen: tell })).losses).toEqual(lost);
    expect(foreseen).toEqual([
      expect.stringContaining(`These objects will not get their owners: ${lost.join('; ')}.`),
    ]);
    await sql(target.url, 'DROP DATABASE without_boss');
    await sql(target.url, 'DROP ROLE boss');
    expect((await recovering('with_boss', { privilegedRoles: true, foreseen: tell })).losses).toEqual([]);
    expect(foreseen).toHaveLength(1);
  });

  test('is proven by a drill that leaves nothing behind', async () => {
    const before = await databases(source.url);
    expect(await runDrill(store, source.url, key)).toEqual({ losses: [], notProven: [] });
    expect(await databases(source.url)).toEqual(before);
  });

  test('is proven in part by a drill whose role may not create everything', async () => {
    await sql(source.url, `CREATE ROLE driller LOGIN CREATEDB PASSWORD 'pw'`);
    const server = new URL(source.url);
    [server.username, server.password] = ['driller', 'pw'];
    const before = await databases(source.url);
    const { losses, notProven } = await runDrill(store, server.href, key);
    expect(losses).toEqual([]);
    expect(notProven).toContain('owner and rights of 20 large objects (this role may not act as snapshotd)');
    expect(notProven.join('\n')).toMatch(
      /^contents of .*ext\.settings, .* \(not created\)\nextension fidcfg \(.*permission denied.*\)\n[^]*\nevent trigger frozen \(.*\)\nowners of \d+ objects \(the role may not act as field_owner, snapshotd\)$/m,
    );
    expect(await databases(source.url)).toEqual(before);
  });
});

async function databases(url: string): Promise<string[]> {
  return (await sql<{ name: string }>(url, 'SELECT datname AS name FROM pg_database ORDER BY 1')).map(
    ({ name }) => name,
  );
}
