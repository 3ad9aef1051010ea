import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';

import pg from 'pg';
import { DataSource } from 'typeorm';
import { openArchive, otherFiles } from '#archive';
import { formatBytes, formatCount } from '#common';
import { readSettings, Secret } from '#config';
import type { DaemonStatus } from '#contracts';
import { databaseOptions, openDatabase } from '#database';
import {
  apiReady,
  Client,
  freePort,
  type ServerProcess,
  startApp,
  startServers,
  throwAwayFolder,
} from '../dev/index.js';
import { ObjectStore } from '#storage';

import { countEntities, fillRepository } from './fill-repository.js';

const DIST = join(__dirname, '..');
const BAR_WIDTH = 30;
const interrupted = new AbortController();

function say(text: string): void {
  interrupted.signal.throwIfAborted();
  process.stdout.write(`${text}\n`);
}

/** Draws a job's progress until it ends: a moving bar on a terminal, a line for each change elsewhere. */
async function watched(client: Client, { id }: DaemonStatus): Promise<DaemonStatus> {
  const out = process.stdout;
  let last = '';
  const draw = ({ progresssMessage, progresssCurrent, progresssTotal, status }: DaemonStatus) => {
    const share = status === 'COMPLETED' ? 1 : progresssTotal === 0 ? 0 : progresssCurrent / progresssTotal;
    const full = Math.round(share * BAR_WIDTH);
    const percent = `${Math.floor(share * 100)}%`.padStart(4);
    const line = `${percent} ${progresssCurrent}/${progresssTotal} ${progresssMessage}`;
    if (out.isTTY) out.write(`\r\x1b[K[${'#'.repeat(full)}${'-'.repeat(BAR_WIDTH - full)}]${line}`);
    else if (line !== last) out.write(`${line.trimStart()}\n`);
    last = line;
    return false;
  };
  const seen = await client.watch(id, draw, { everyMs: 100, signal: interrupted.signal });
  if (out.isTTY) out.write('\n');
  const status = seen.at(-1);
  if (status === undefined) throw new Error(`There is no status of job ${id}`);
  return status;
}

/** Lists an archive's entries from its manifest, one a line: name, rows, size. */
async function entriesOf(store: ObjectStore, url: string): Promise<string[]> {
  const key = decodeURIComponent(url.slice(store.url('').length));
  const object = await store.open(key, interrupted.signal);
  if (object === undefined) throw new Error(`There is no object ${key}`);
  const { manifest } = await openArchive(object);
  const entries = manifest.tables.flatMap((table) => table.entries);
  const width = Math.max(...entries.map(({ name }) => name.length));
  return [
    ...entries.map(
      ({ name, rows, length }) =>
        `${name.padEnd(width)} ${formatCount(rows).padStart(6)} rows ${formatBytes(length).padStart(7)}`,
    ),
    ...otherFiles(manifest).map(({ name }) => name),
    'manifest.json',
  ];
}

/** Drops a database with all of its sessions. */
async function dropDatabase(url: URL): Promise<void> {
  const maintenance = new URL(url);
  maintenance.pathname = '/postgres';
  const client = new pg.Client(maintenance.href);
  await client.connect();
  try {
    await client.query(`DROP DATABASE ${client.escapeIdentifier(url.pathname.slice(1))} WITH (FORCE)`);
  } finally {
    await client.end();
  }
}

/** Recovers a database at the command line, as its administrator would. */
async function recoverDatabase(archive: string, url: URL, env: Record<string, string>): Promise<void> {
  const target = new URL(url);
  target.password = '';
  say(`$ snapshotd recover ${archive} --to ${target.href}`);
  const program = [join(DIST, 'apps', 'cli', 'main.js'), 'recover', archive, '--to', target.href];
  const command = spawn(process.execPath, ['--no-warnings', ...program], {
    env: { ...process.env, ...env, PGPASSWORD: url.password },
    stdio: ['ignore', 'inherit', process.stdout],
  });
  const [code] = (await once(command, 'exit')) as [number | null];
  interrupted.signal.throwIfAborted();
  if (code !== 0) throw new Error('The recover failed.');
}

/** Backs up a database, drops it, and recovers it from the archive alone, on servers that it starts and stops. */
async function demo(): Promise<void> {
  const folder = throwAwayFolder();
  const running: { stop(): Promise<void> }[] = [];
  try {
    say('Starting PostgreSQL, an S3 server and a queue on free ports of 127.0.0.1 ...');
    const servers = await startServers({ folder, env: {}, durable: false });
    running.push(servers);
    say(
      `  The queue is ${servers.redis ? 'a private redis-server' : "BullMQ's PostgreSQL backend (no redis-server on PATH)"}.`,
    );

    say('Starting the API and a worker ...');
    const port = await freePort();
    const url = `http://127.0.0.1:${port}`;
    const administrator = { email: 'admin@example.org', password: randomBytes(12).toString('base64url') };
    const env: Record<string, string> = {
      ...servers.env,
      PORT: String(port),
      HOST: '127.0.0.1',
      ADMIN_EMAIL: administrator.email,
      ADMIN_PASSWORD: administrator.password,
    };
    const api: ServerProcess = await startApp({ app: 'api', dist: DIST, folder, env });
    running.push(api);
    running.push(await startApp({ app: 'worker', dist: DIST, folder, env }));
    await apiReady(api, url);

    say('Filling the repository with 785 entities ...');
    const database = await openDatabase(databaseOptions(new Secret(env['DATABASE_URL'] ?? '')));
    running.push({ stop: () => database.destroy() });
    await fillRepository(database);
    if ((await countEntities(database)) !== 785)
      throw new Error('The repository does not hold 785 entities.');

    say('Logging in as an administrator and starting a backup ...');
    const client = new Client(url);
    await client.login(administrator);
    const status = await watched(client, await client.startBackup());
    say(JSON.stringify(status, null, 2));
    if (status.status !== 'COMPLETED' || status.backupUrl === null) throw new Error('The backup failed.');

    say('\nThe archive holds:');
    Object.assign(process.env, servers.env);
    const store = new ObjectStore(readSettings(env).store);
    for (const line of await entriesOf(store, status.backupUrl)) say(`  ${line}`);
    store.close();

    say('\nA disaster: the API, the worker and the database are gone. The archive is left ...');
    // All but the servers.
    for (const part of running.splice(1).toReversed()) await part.stop();
    const target = new URL(env['DATABASE_URL'] ?? '');
    await dropDatabase(target);
    await recoverDatabase(status.backupUrl.replace(store.url(''), `s3://${store.bucket}/`), target, env);
    const recovered = await new DataSource(databaseOptions(new Secret(target.href))).initialize();
    running.push({ stop: () => recovered.destroy() });
    const back = await countEntities(recovered);
    if (back !== 785) throw new Error(`${back} entities are back instead of 785.`);
    say(`  ${back} entities are back.`);

    say('\nTo try it yourself, run `npm start`: it keeps everything running and prints the addresses.');
  } finally {
    for (const part of running.toReversed()) await part.stop();
    await rm(folder, { recursive: true, force: true });
  }
}

for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => interrupted.abort());

demo().catch((error: unknown) => {
  process.exitCode = 1;
  if (interrupted.signal.aborted) process.stderr.write('\nStopped.\n');
  else
    process.stderr.write(
      `The demo failed: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`,
    );
});
