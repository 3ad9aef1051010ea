import { join } from 'node:path';
import { Redis } from 'ioredis';
import type { DaemonStatus } from '#contracts';
import { freePort, ServerProcess } from '../../dev/index.js';
import { eventually } from '../support/eventually.js';
import { OwnServer } from '../support/own-server.js';
import { Proxy } from '../support/proxy.js';
import { servers } from '../support/servers.js';
import { Stack } from '../support/stack.js';

(servers.redis ? describe : describe.skip)('a Redis that takes no writes', () => {
  let redises: OwnServer[];
  let admins: Redis[];
  let proxy: Proxy;
  let stack: Stack;

  beforeAll(async () => {
    redises = [await OwnServer.redis(), await OwnServer.redis()];
    admins = redises.map(({ url }) => new Redis(url));
    const [one = '', other = ''] = redises.map(({ url }) => new URL(url).password);
    // Both use the password of the first.
    await admins[1]?.config('SET', 'requirepass', one, 'masterauth', one);
    await admins[0]?.config('SET', 'masterauth', one);
    await admins[1]?.auth(one);
    expect(other).not.toBe('');
    await follow(1, 0);
    proxy = await Proxy.to(redises[0]?.url ?? '');
    const url = new URL(redises[0]?.url ?? '');
    url.port = new URL(proxy.url).port;
    stack = await Stack.start({ env: { QUEUE_URL: url.href } });
  });
  afterAll(async () => {
    await stack.stop();
    await proxy.close();
    for (const admin of admins) admin.disconnect();
    for (const redis of redises) await redis.stop();
  });

  async function follow(replica: number, primary: number): Promise<void> {
    await admins[replica]?.replicaof('127.0.0.1', Number(new URL(redises[primary]?.url ?? '').port));
    await eventually(async () =>
      /master_link_status:up/.test((await admins[replica]?.info('replication')) ?? ''),
    );
  }

  const start = () =>
    stack.call<DaemonStatus & { reason?: string }>('POST', '/repo/v1/startBackupDaemon', {});
  const isQueueUp = async () =>
    (await stack.call<{ queue: string }>('GET', '/health/ready')).body.queue === 'up';
  const completes = async (id: string) =>
    expect(await stack.finished(id)).toMatchObject({ status: 'COMPLETED' });

  test('after a failover is said to be a replica, and API and worker find the new primary by themselves', async () => {
    await completes((await start()).body.id);
    await admins[1]?.replicaof('NO', 'ONE');
    await follow(0, 1);
    // The address still leads to the old one.
    for (let times = 0; times < 2; times++) {
      const { status, body } = await start();
      expect([status, body.reason]).toEqual([
        503,
        expect.stringMatching(
          /^The queue (refuses this: READONLY .*|does not answer)\. Nothing was started\. /,
        ),
      ]);
    }
    await eventually(async () =>
      /refuses this: READONLY .* QUEUE_URL leads to a replica/.test((await start()).body.reason ?? ''),
    );
    expect(await isQueueUp()).toBe(false);
    proxy.target = redises[1]?.url ?? '';
    await eventually(isQueueUp);
    const { status, body } = await start();
    expect(status).toBe(201);
    await completes(body.id);
  });

  test('because it is full makes a start a 503 that says so, and the API not ready', async () => {
    await admins[1]?.config('SET', 'maxmemory', '1');
    expect(await start()).toMatchObject({
      status: 503,
      body: {
        reason:
          "The queue refuses this: OOM command not allowed when used memory > 'maxmemory'. Nothing was started. Raise maxmemory of Redis, or delete data from it.",
      },
    });
    expect(await isQueueUp()).toBe(false);
    const { body: metrics } = await stack.call<string>('GET', '/metrics');
    expect(metrics).toMatch(/^snapshotd_queue_up 0$/m);
    expect(metrics).toMatch(/^snapshotd_daemons\{type="BACKUP",status="COMPLETED"\} 2$/m);
    await admins[1]?.config('SET', 'maxmemory', '0');
    await eventually(isQueueUp);
    await completes((await start()).body.id);
  });

  test('because it is a cluster is refused at the start', async () => {
    const port = await freePort();
    const cluster = await ServerProcess.start({
      name: 'redis-cluster',
      command: 'redis-server',
      args: [
        '--port',
        String(port),
        '--bind',
        '127.0.0.1',
        '--cluster-enabled',
        'yes',
        '--dir',
        stack.folder,
      ],
      logFile: join(stack.folder, 'cluster.log'),
      pidFile: join(stack.folder, 'cluster.pid'),
      stopSignal: 'SIGTERM',
    });
    stack.env['QUEUE_URL'] = `redis://127.0.0.1:${port}`;
    const worker = await stack.startWorker();
    await worker.ended();
    expect(worker.logTail(20)).toContain(
      'QUEUE_URL leads to a Redis in cluster mode, which is not supported.',
    );
    await cluster.stop();
  });
});
