import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { runBackup, runRecover } from '../support/heart.js';
import { OwnServer } from '../support/own-server.js';
import { newDatabase, servers, storeOfTests } from '../support/servers.js';
import { pgDump } from '../support/state.js';

const FIXTURE = join(__dirname, '../fixtures/field-database.sql');
const onDebians = servers.debianPostgres ? describe : describe.skip;
const store = storeOfTests();

onDebians('a database as applications have it', () => {
  const binaries = servers.debianPostgres?.binaries ?? '';
  let source: OwnServer;
  let target: OwnServer;

  beforeAll(async () => {
    source = await OwnServer.postgres({ binaries });
    target = await OwnServer.postgres({ binaries });
    process.env['PATH'] = `${binaries}:${process.env['PATH']}`;
  });
  afterAll(async () => {
    await source?.stop();
    await target?.stop();
  });

  test('is recovered on an empty server with its roles', async () => {
    const url = await newDatabase(source.url);
    execFileSync(join(binaries, 'psql'), ['-Xqf', FIXTURE, '-v', 'ON_ERROR_STOP=1', url], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    const { key } = await runBackup(store, url, '*', { definitions: 'required' });
    const name = new URL(url).pathname.slice(1);
    const { losses } = await runRecover(store, target.url, key, name, { createRoles: true });
    expect(losses).toEqual([]);
    const recovered = new URL(target.url);
    recovered.pathname = `/${name}`;
    expect(await pgDump(recovered.href, [])).toBe(await pgDump(url, []));
  });
});
