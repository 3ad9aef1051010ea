import { randomBytes } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { DataSource } from 'typeorm';
import { Secret } from '#config';
import type { DaemonStatus } from '#contracts';
import { databaseOptions, openDatabase } from '#database';
import { apiReady, freePort, startApp, startServers, throwAwayFolder } from '../../dev/index.js';
import { Client } from '../client.js';
import { fillRepository } from '../fill-repository.js';
import { daysAgo, type History } from './history.js';

const DIST = join(__dirname, '../..');
const FIRST_NODE = 1_000;

export interface Product {
  url: string;
  administrator: { email: string; password: string };
  client: Client;
  /** Adds so many nodes to the repository. */
  grow(nodes: number): Promise<void>;
  finished(started: DaemonStatus): Promise<DaemonStatus>;
  stop(): Promise<void>;
}

/** The product on servers of its own, with a repository that has grown and was backed up each day of two weeks. */
export async function startProduct(): Promise<Product> {
  const folder = throwAwayFolder();
  const running: { stop(): Promise<void> }[] = [];
  const stop = async () => {
    for (const part of running.toReversed()) await part.stop();
    await rm(folder, { recursive: true, force: true });
  };
  try {
    const servers = await startServers({ folder, env: {}, durable: false, queue: 'redis' });
    running.push(servers);
    const port = await freePort();
    const url = `http://127.0.0.1:${port}`;
    const administrator = { email: 'admin@example.org', password: randomBytes(12).toString('base64url') };
    const env: Record<string, string> = {
      ...servers.env,
      PORT: String(port),
      HOST: '127.0.0.1',
      ADMIN_EMAIL: administrator.email,
      ADMIN_PASSWORD: administrator.password,
      // Slow enough to be looked at while it runs.
      BACKUP_COMPRESSION_LEVEL: '9',
      BACKUP_JOBS: '1',
    };
    const api = await startApp({ app: 'api', dist: DIST, folder, env });
    running.push(api);
    running.push(await startApp({ app: 'worker', dist: DIST, folder, env }));
    await apiReady(api, url);

    const databaseUrl = env['DATABASE_URL'] ?? '';
    const database = await openDatabase(databaseOptions(new Secret(databaseUrl)));
    running.push({ stop: () => database.destroy() });
    await fillRepository(database);
    const client = new Client(url);
    await client.login(administrator.email, administrator.password);
    const finished = (started: DaemonStatus) => untilEnded(client, started);
    const grow = growing(database);
    await makeHistory({
      client,
      finished,
      grow,
      history: {
        databaseUrl,
        queueUrl: env['QUEUE_URL'] ?? '',
        bucketFolder: join(folder, 's3', 'buckets', env['S3_BUCKET'] ?? ''),
      },
    });
    return { url, administrator, client, grow, finished, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function makeHistory({
  client,
  finished,
  grow,
  history,
}: Pick<Product, 'client' | 'finished' | 'grow'> & { history: History }): Promise<void> {
  for (let days = 13; days >= 1; days--) {
    await grow(days % 3 === 0 ? 9_000 : 3_000);
    await daysAgo(days, history, async () => finished(await client.startBackup()));
    if (days === 6)
      await daysAgo(days, history, async () => {
        const started = await client.startBackup();
        await client.terminate(started.id);
        return finished(started);
      });
  }
  await client.putSchedule('weekly-drill', {
    pattern: '0 4 * * 0',
    timeZone: 'Europe/Berlin',
    then: 'restoreDrill',
    enabled: false,
  });
  // Each second, until it has run once.
  const nightly = { timeZone: 'Europe/Berlin', then: 'verify', retention: { last: 3, daily: 7, weekly: 5 } };
  await client.putSchedule('nightly', { ...nightly, pattern: '* * * * * *' });
  while ((await client.lastRun('nightly')) === null) await sleep(100);
  await client.putSchedule('nightly', { ...nightly, pattern: '30 2 * * *' });
  while ((await client.lastRun('nightly'))?.status === 'IN_PROGRESS') await sleep(100);
  await finished(await client.startRestore('BackupDaemonJob1-1.zip'));
}

async function untilEnded(client: Client, started: DaemonStatus): Promise<DaemonStatus> {
  let status = started;
  while (status.status === 'STARTED' || status.status === 'IN_PROGRESS') {
    await sleep(50);
    status = await client.status(status.id);
  }
  return status;
}

/** Nodes that are hard to compress, as real ones are. */
function growing(database: DataSource): (nodes: number) => Promise<void> {
  let next = FIRST_NODE;
  return async (nodes) => {
    await database.query(
      `INSERT INTO repository.node (id, name, description, type, created_by, etag)
       SELECT i, 'dataset ' || i, encode(sha256(i::text::bytea), 'base64') || ' ' || md5(i::text), 'dataset', 1,
              gen_random_uuid()
         FROM generate_series($1::bigint, $2::bigint) i`,
      [next, next + nodes - 1],
    );
    next += nodes;
  };
}
