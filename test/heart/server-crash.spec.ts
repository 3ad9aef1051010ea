import { join } from 'node:path';
import { EmbeddedPostgres } from '../../dev/index.js';
import type { ObjectStore } from '#storage';
import { MemoryJournal, runBackup, runRestore } from '../support/heart.js';
import { contentsOf, largeTable } from '../support/large-table.js';
import { openStore, servers, sql } from '../support/servers.js';
import { StatementProxy } from '../support/statement-proxy.js';

/** Commits need not be on disk to be done: what many set for speed. */
const FAST_COMMITS = { fsync: 'off', synchronous_commit: 'off', wal_writer_delay: '10s' };
const folder = join(servers.folder, 'crashing');
let postgres: EmbeddedPostgres;
let store: ObjectStore;

const start = async (port?: number) =>
  EmbeddedPostgres.start({ folder, durable: true, settings: FAST_COMMITS, ...(port && { port }) });

/** As if the machine lost its power, but for the files' cache. */
async function crash(): Promise<void> {
  const { port, process } = postgres;
  process.signal('SIGQUIT');
  await process.ended();
  await postgres.stop();
  postgres = await start(port);
}

beforeAll(async () => {
  postgres = await start();
  store = openStore(servers.s3);
});
afterAll(async () => {
  store.close();
  await postgres.stop();
});

test('a restore whose transaction id another one gets after a crash is not taken for done', async () => {
  const url = await largeTable(postgres.url(), 100);
  const before = await contentsOf(url);
  const { key } = await runBackup(store, url, ['s']);
  await sql(url, 'CREATE TABLE public.other (a int); TRUNCATE s.t; CHECKPOINT');
  const proxy = await StatementProxy.to(url);
  let crashed: Promise<void> | undefined;
  proxy.before = async (statement) => {
    if (statement.sql.startsWith('TRUNCATE')) await (crashed ??= crash());
  };
  const journal = new MemoryJournal();
  await expect(runRestore(store, proxy.url, ['s'], key, { journal })).rejects.toMatchObject({
    code: 'DATABASE_CONNECTION_LOST',
    persistence: 'transient',
  });
  await crashed;
  const transaction = journal.notes.sessions[0]?.transaction ?? '';
  expect(transaction).toMatch(/^\d+$/);
  // The next writer: from here on the transaction's id cannot be given to another.
  for (let id = 0; id <= Number(transaction);) {
    const rows = await sql<{ id: string }>(
      url,
      'INSERT INTO public.other VALUES (1) RETURNING pg_current_xact_id()::text AS id',
    );
    id = Number(rows[0]?.id);
  }
  await runRestore(store, proxy.url, ['s'], key, { journal });
  expect(await contentsOf(url)).toEqual(before);
  await proxy.close();
});

test('a restore that is done outlives a crash, though the server need not write commits to disk', async () => {
  const url = await largeTable(postgres.url(), 100);
  const { key } = await runBackup(store, url, ['s']);
  // In its own place it begins with TRUNCATE, whose commit PostgreSQL always writes to disk.
  await runRestore(store, url, ['s'], key, { intoSchemas: { s: 'copy' }, create: true });
  await crash();
  expect(await sql(url, 'SELECT count(*)::int AS rows FROM copy.t')).toEqual([{ rows: 100 }]);
});
