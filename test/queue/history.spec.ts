import { UnrecoverableError } from 'bullmq';
import { newQueue } from '../support/queue.js';
import { queues } from '../support/servers.js';

const DAY_MS = 24 * 60 * 60 * 1000;

test.each(queues)(
  'on the %s queue a worker with a fast clock removes no jobs; the API does, by the given time',
  async (_title, queueUrl) => {
    const { queue, worker, reader, daemons } = await newQueue(queueUrl);
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
