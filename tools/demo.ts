import { randomBytes } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { readSettings, Secret } from '#config';
import type { DaemonStatus } from '#contracts';
import { databaseOptions, openDatabase } from '#database';
import {
  apiReady,
  freePort,
  type ServerProcess,
  startApp,
  startServers,
  throwAwayFolder,
} from '../dev/index.js';
import { ObjectStore } from '#storage';
import { Client } from './client.js';
import { countEntities, emptyRepository, fillRepository } from './fill-repository.js';
import { listEntries } from './list-entries.js';
import { ProgressBar } from './progress-bar.js';

const DIST = join(__dirname, '..');
const interrupted = new AbortController();

function say(text: string): void {
  interrupted.signal.throwIfAborted();
  process.stdout.write(`${text}\n`);
}

/** Draws a daemon's progress until it has ended. */
async function watched(client: Client, started: DaemonStatus): Promise<DaemonStatus> {
  const bar = new ProgressBar(process.stdout);
  let status = started;
  while (status.status === 'STARTED' || status.status === 'IN_PROGRESS') {
    bar.draw(status);
    await sleep(100, undefined, { signal: interrupted.signal });
    status = await client.status(status.id);
  }
  bar.draw(status);
  bar.end();
  return status;
}

/** Does the main job once, from nothing: everything is started, used and stopped again. */
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
    await client.login(administrator.email, administrator.password);
    const status = await watched(client, await client.startBackup());
    say(JSON.stringify(status, null, 2));
    if (status.status !== 'COMPLETED' || status.backupUrl === null) throw new Error('The backup failed.');

    say('\nThe archive holds:');
    Object.assign(process.env, servers.env);
    const store = new ObjectStore(readSettings(env).store);
    for (const line of await listEntries(store, status.backupUrl)) say(`  ${line}`);
    store.close();

    say('\nDeleting everything ...');
    await emptyRepository(database);
    say(`  ${await countEntities(database)} entities are left. Restoring the archive ...`);
    const restored = await watched(client, await client.startRestore(status.backupUrl));
    if (restored.status !== 'COMPLETED') throw new Error(`The restore failed: ${restored.errorMessage}`);
    const back = await countEntities(database);
    if (back !== 785) throw new Error(`${back} entities are back instead of 785.`);
    say(`  ${back} entities are back.`);

    say('\nTo look further: `npm start` runs all this to stay, and prints where. README.md has the calls.');
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
