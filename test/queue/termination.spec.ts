import { UnrecoverableError, type Worker } from 'bullmq';
import { queues } from '../support/servers.js';
import { newQueue } from '../support/queue.js';
import { signedProgress } from '../../libs/queue/authentic-jobs.js';
import type { DaemonJob, DaemonJobQueue } from '../../libs/queue/daemon-job.js';
import type { DaemonQueue } from '../../libs/queue/daemon-queue.js';
import type { DaemonReader } from '../../libs/queue/daemon-reader.js';

const HOUR = 60 * 60 * 1000;

afterEach(() => jest.restoreAllMocks());

describe.each(queues)('on the %s queue, with any clock of the worker,', (_title, queueUrl) => {
  let queue: DaemonJobQueue;
  let worker: Worker;
  let daemons: DaemonQueue;
  let reader: DaemonReader;
  beforeAll(async () => {
    ({ queue, worker, reader, daemons } = await newQueue(queueUrl));
  });
  afterAll(async () => {
    await worker.close();
    await queue.close();
  });

  async function takenAt(now: number) {
    const clock = jest.spyOn(Date, 'now').mockReturnValue(now);
    const job = await worker.getNextJob('token');
    clock.mockRestore();
    return job;
  }

  test.each([-HOUR, HOUR])(
    'a job that was terminated while it waited stays FAILED: %d ms off',
    async (off) => {
      const { id } = await daemons.start('BACKUP', 'admin@example.org');
      await daemons.terminate(id);
      expect(await reader.status(id)).toMatchObject({ status: 'FAILED' });
      const job = await takenAt(Date.now() + off);
      expect(job?.id).toBe(id);
      expect(await reader.status(id)).toMatchObject({ status: 'FAILED' });
      await job?.moveToFailed(new UnrecoverableError('It was told to end.'), 'token', false);
      expect(await reader.status(id)).toMatchObject({ status: 'FAILED' });
    },
  );

  test.each([-HOUR, HOUR])('a running job ends when its worker reports it: %d ms off', async (off) => {
    const { id } = await daemons.start('BACKUP', 'admin@example.org');
    const job = await takenAt(Date.now() + off);
    await daemons.terminate(id);
    expect(await reader.status(id)).toMatchObject({ status: 'STARTED' });
    const line = { message: 'At work', current: 1, total: 2, attempt: 1, takeovers: 0 };
    const progress = { ...line, notes: { archives: [], sessions: [] } };
    await job?.updateProgress(signedProgress(reader.keys, job as DaemonJob, progress));
    expect(await reader.status(id)).toMatchObject({ status: 'IN_PROGRESS' });
    await job?.moveToFailed(new UnrecoverableError('It was told to end.'), 'token', false);
    expect(await reader.status(id)).toMatchObject({ status: 'FAILED' });
  });
});
