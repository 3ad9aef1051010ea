import { randomBytes } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';

import type { DataSource } from 'typeorm';
import { Secret } from '#config';
import { pollUntil } from '#common';
import type { DaemonStatus, ScheduleView } from '#contracts';
import { databaseOptions, openDatabase } from '#database';
import { apiReady, Client, freePort, startApp, startServers, throwAwayFolder } from '../../dev/index.js';
import { fillRepository } from '../fill-repository.js';
import { daysAgo, type History } from './history.js';

const DIST = join(__dirname, '../..');
const FIRST_NODE = 1_000;

export interface Product {
  url: string;
  administrator: { email: string; password: string };
  client: Client;
  /** Adds this number of nodes to the repository. */
  grow(nodes: number): Promise<void>;

  stop(): Promise<void>;
}

/** Starts the product on embedded servers, with a growing repository and daily backups over two weeks. */
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
      // Slow enough to take pictures while it runs.
      // The only superuser of a server that is thrown away.
      DRILL_AS_SUPERUSER: 'true',
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
    await client.login(administrator);
    const grow = growing(database);
    await makeHistory({
      client,
      grow,
      history: {
        databaseUrl,
        queueUrl: env['QUEUE_URL'] ?? '',
        bucketFolder: join(folder, 's3', 'buckets', env['S3_BUCKET'] ?? ''),
      },
    });
    return { url, administrator, client, grow, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function makeHistory({
  client,
  grow,
  history,
}: Pick<Product, 'client' | 'grow'> & { history: History }): Promise<void> {
  const finished = ({ id }: DaemonStatus) => client.finished(id);
  const putSchedule = (name: string, schedule: object) =>
    client.ask('PUT', `/repo/v1/schedules/${name}`, schedule);
  const untilLastRun = (fits: (run: ScheduleView['lastRun']) => boolean) =>
    pollUntil(
      async () => {
        const { lastRun } = await client.ask<ScheduleView>('GET', '/repo/v1/schedules/nightly');
        return fits(lastRun) || undefined;
      },
      { everyMs: 100, timeoutMs: Infinity },
    );
  for (let days = 13; days >= 1; days--) {
    await grow(days % 3 === 0 ? 9_000 : 3_000);
    await daysAgo(days, history, async () => finished(await client.startBackup()));
    if (days === 6)
      await daysAgo(days, history, async () => {
        const started = await client.startBackup();
        await client.ask('DELETE', `/repo/v1/terminateDaemon/${started.id}`);
        return finished(started);
      });
  }
  await putSchedule('weekly-drill', {
    pattern: '0 4 * * 0',
    timeZone: 'Europe/Berlin',
    then: 'DRILL',
    enabled: false,
  });
  // Runs each second until the first run.
  const nightly = { timeZone: 'Europe/Berlin', then: 'FIT', retention: { last: 3, daily: 7, weekly: 5 } };
  await putSchedule('nightly', { ...nightly, pattern: '* * * * * *' });
  await untilLastRun((run) => run !== null);
  await putSchedule('nightly', { ...nightly, pattern: '30 2 * * *' });
  await untilLastRun((run) => run?.status !== 'IN_PROGRESS');
  await finished(await client.startRestore('BackupDaemonJob1-1.zip'));
}

/** Adds nodes that compress as badly as real ones. */
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
