import { once } from 'node:events';
import { type AddressInfo, connect, createServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { Session } from '#postgres';
import { MemoryJournal, runBackup, runRestore } from '../support/heart.js';
import { newDatabase, openStore, servers, sql } from '../support/servers.js';

const IDLE_MS = 5_000;

test("a proxy that cuts idle connections does not cut a waiting job's", async () => {
  const url = await newDatabase();
  await sql(url, 'CREATE SCHEMA s; CREATE TABLE s.t AS SELECT 1 AS a');
  const store = openStore(servers.s3);
  const { key } = await runBackup(store, url, ['s']);

  let cut = 0;
  const proxy = createServer((client) => {
    const server = connect(Number(new URL(url).port), '127.0.0.1');
    const end = () => [client, server].map((each) => each.destroy());
    for (const socket of [client, server]) socket.on('error', end).on('close', end);
    client.setTimeout(IDLE_MS, () => (cut++, end()));
    client.pipe(server).pipe(client);
  }).listen(0, '127.0.0.1');
  await once(proxy, 'listening');
  const through = new URL(url);
  through.port = String((proxy.address() as AddressInfo).port);

  const session = await Session.open(through.href, { applicationName: 'idle' });
  // Nothing that is sent meanwhile takes a snapshot.
  await session.query('BEGIN ISOLATION LEVEL REPEATABLE READ');
  const holder = new pg.Client(url);
  await holder.connect();
  await holder.query('SELECT pg_advisory_lock(8317692697400340340)');
  const restoring = runRestore(store, through.href, ['s'], key);
  await sleep(IDLE_MS * 1.3);
  await holder.end();
  expect(await restoring).toMatchObject({ entities: 1 });
  await sql(url, 'INSERT INTO s.t VALUES (2)');
  expect(await session.query('SELECT a FROM s.t ORDER BY a')).toEqual([{ a: 1 }, { a: 2 }]);
  expect(cut).toBe(0);
  await session.close();
  proxy.close();
  store.close();
});

test('a session that is cut while it waits for the repository lock is opened again, in the same attempt', async () => {
  const url = await newDatabase();
  await sql(url, 'CREATE SCHEMA s; CREATE TABLE s.t AS SELECT 1 AS a');
  const store = openStore(servers.s3);
  const { key } = await runBackup(store, url, ['s']);
  const holder = new pg.Client(url);
  await holder.connect();
  await holder.query('SELECT pg_advisory_lock(8317692697400340340)');
  const journal = new MemoryJournal();
  const again = 'Reconnecting to wait for the repository lock';
  let [sessions, cuts] = [1, 0];
  journal.onReport = ({ message }) => {
    if (message.startsWith(again)) sessions++;
    if (!message.startsWith('Waiting for the repository lock: held by') || cuts === sessions) return;
    if (++cuts === 3) void holder.end();
    else
      void sql(
        url,
        `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND application_name ~ '^snapshotd restore'`,
      );
  };
  expect(await runRestore(store, url, ['s'], key, { journal })).toMatchObject({ entities: 1 });
  expect(sessions).toBe(3);
  store.close();
});
