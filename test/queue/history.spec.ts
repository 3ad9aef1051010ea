import { Queue, UnrecoverableError, Worker } from 'bullmq';
import { randomBytes } from 'node:crypto';
import { readSettings } from '#config';
import { Keys } from '#keys';
import { createLogger } from '#logging';
import { newDatabase, queues } from '../support/servers.js';
import { queueConnection } from '../../libs/queue/connection.js';
import type { DaemonJobQueue } from '../../libs/queue/daemon-job.js';
import { DaemonQueue } from '../../libs/queue/daemon-queue.js';
import { DaemonReader } from '../../libs/queue/daemon-reader.js';

const DAY_MS = 24 * 60 * 60 * 1000;

test.each(queues)(
  'on the %s queue a worker with a fast clock removes no jobs; the API does, by the given time',
  async (_title, queueUrl) => {
    const settings = readSettings({
      SECRET_KEY: 'ab'.repeat(32),
      DATABASE_URL: 'postgres://unused/it',
      S3_BUCKET: 'unused',
      QUEUE_URL: queueUrl ?? (await newDatabase()),
    });
    const logger = createLogger('test', 'silent');
    const connection = await queueConnection(settings.queueUrl, 'worker', logger);
    const name = `history-${randomBytes(4).toString('hex')}`;
    const queue: DaemonJobQueue = new Queue(name, connection);
    const worker = new Worker(name, undefined, connection);
    const reader = new DaemonReader(queue, new Keys(settings.secretKeys));
    const daemons = new DaemonQueue(reader, { count: 10, days: 90 }, logger);
    const end = async (how: 'completed' | 'failed') => {
      const { id } = await daemons.start('BACKUP', 'somebody');
      const job = await worker.getNextJob('token');
      if (how === 'completed') await job?.moveToCompleted({}, 'token', false);
      else await job?.moveToFailed(new UnrecoverableError('failed'), 'token', false);
      return id;
    };
    const known = async (ids: string[]) =>
      (await Promise.all(ids.map((id) => reader.status(id)))).map((status) => status !== undefined);

    const { now } = Date;
    const early = [await end('completed'), await end('failed')];
    jest.spyOn(Date, 'now').mockImplementation(() => now() + 400 * DAY_MS);
    const late = [await end('completed'), await end('failed')];
    jest.restoreAllMocks();
    expect(await known([...early, ...late])).toEqual([true, true, true, true]);

    await daemons.forget(now() + 89 * DAY_MS);
    expect(await known([...early, ...late])).toEqual([true, true, true, true]);
    await daemons.forget(now() + 91 * DAY_MS);
    expect(await known([...early, ...late])).toEqual([false, false, true, true]);
    await worker.close();
    await queue.close();
  },
);
