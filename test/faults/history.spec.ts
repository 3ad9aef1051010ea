import { Redis } from 'ioredis';
import type { DaemonStatus } from '#contracts';
import { eventually } from '../support/eventually.js';
import { queues, sql } from '../support/servers.js';
import { Stack } from '../support/stack.js';

const DAY_MS = 24 * 60 * 60 * 1000;

/** Backdates the end of a job by days, in the queue's own store. */
async function backdate(stack: Stack, id: string, days: number): Promise<void> {
  const url = stack.env['QUEUE_URL'] ?? '';
  if (url.startsWith('redis')) {
    const redis = new Redis(url);
    await redis.zincrby('snapshotd:daemons:completed', -days * DAY_MS, id);
    redis.disconnect();
  } else
    await sql(url, 'UPDATE snapshotd_queue.job SET finished_at_ms = finished_at_ms - $2 WHERE id = $1', [
      id,
      days * DAY_MS,
    ]);
}

test.each(queues)(
  'on the %s queue the last daemons of each outcome are remembered, and not for longer than was set',
  async (_title, queueUrl) => {
    const stack = await Stack.start({
      queueUrl,
      env: { DAEMON_HISTORY_COUNT: '3', DAEMON_HISTORY_DAYS: '2' },
    });
    const known = async (ids: string[]) => {
      const answers = await Promise.all(
        ids.map((id) => stack.call<DaemonStatus>('GET', `/repo/v1/daemonStatus/${id}`)),
      );
      return ids.filter((_id, index) => answers[index]?.status === 200);
    };
    const backUp = async () => {
      const { id } = await stack.startBackup();
      expect((await stack.finished(id)).status).toBe('COMPLETED');
      return id;
    };
    const completed = [await backUp(), await backUp(), await backUp(), await backUp()];
    expect(await known(completed)).toEqual(completed.slice(1));

    // Told to end while they waited: remembered like any other that failed, once a worker has passed them.
    for (const worker of stack.workers.splice(0)) await worker.stop();
    const terminated: string[] = [];
    for (let i = 0; i < 5; i++) {
      const { id } = await stack.startBackup();
      terminated.push(id);
      await stack.call('DELETE', `/repo/v1/terminateDaemon/${id}`);
    }
    expect(await known(terminated)).toEqual(terminated);
    await stack.startWorker();
    await eventually(async () => (await known(terminated)).length <= 3);
    expect(await known(terminated)).toEqual(terminated.slice(2));
    expect(await stack.status(terminated.at(-1) ?? '')).toMatchObject({ status: 'FAILED' });

    const [, ageing, young, old] = completed as [string, string, string, string];
    await backdate(stack, ageing, 1);
    await backdate(stack, old, 3);
    const last = await backUp();
    await eventually(async () => (await known([old])).length === 0);
    expect(await known([...completed, last])).toEqual([ageing, young, last]);
    await stack.stop();
  },
);
