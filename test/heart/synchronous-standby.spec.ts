import { MemoryJournal, runBackup, runRestore } from '../support/heart.js';
import { OwnServer } from '../support/own-server.js';
import { openStore, servers, sql } from '../support/servers.js';

test('a restore that waits for a synchronous standby that is gone says so, and goes on without it', async () => {
  const server = await OwnServer.postgres();
  const store = openStore(servers.s3);
  await sql(server.url, 'CREATE SCHEMA s; CREATE TABLE s.t AS SELECT 1 AS a');
  const { key } = await runBackup(store, server.url, ['s']);
  const standbys = async (names: string) => {
    await sql(server.url, `ALTER SYSTEM SET synchronous_standby_names TO '${names}'`);
    await sql(server.url, 'SELECT pg_reload_conf()');
  };
  await standbys('gone');
  const journal = new MemoryJournal();
  const told = new Promise<void>((resolve) => {
    journal.onReport = ({ message }) => void (message.includes('synchronous standby') && resolve());
  });
  const restoring = runRestore(store, server.url, ['s'], key, { journal });
  await told;
  expect(journal.messages.at(-1)).toBe(
    'Waiting for a synchronous standby to confirm the commit (synchronous_standby_names is gone): start it, or remove it from that list',
  );
  expect(journal.messages).toContain('Committing');
  await standbys('');
  expect(await restoring).toMatchObject({ entities: 1 });
  store.close();
  await server.stop();
});
