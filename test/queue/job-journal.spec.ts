import type { Worker } from 'bullmq';
import { eventually } from '../support/eventually.js';
import { queues } from '../support/servers.js';
import { newQueue } from '../support/queue.js';
import type { DaemonJob, DaemonJobQueue } from '../../libs/queue/daemon-job.js';
import type { DaemonQueue } from '../../libs/queue/daemon-queue.js';
import type { DaemonReader } from '../../libs/queue/daemon-reader.js';
import { JobJournal, type JobJournalOptions } from '../../libs/queue/job-journal.js';

describe.each(queues)('on the %s queue', (_title, queueUrl) => {
  let queue: DaemonJobQueue;
  let worker: Worker;
  let daemons: DaemonQueue;
  let reader: DaemonReader;
  const journals: JobJournal[] = [];

  beforeAll(async () => {
    ({ queue, worker, reader, daemons } = await newQueue(queueUrl, 60_000));
  });
  afterEach(() => {
    for (const journal of journals.splice(0)) journal.close();
  });
  afterAll(async () => {
    await worker.close();
    await queue.close();
  });

  async function attempt(token: string, more: Partial<JobJournalOptions> = {}) {
    const job = (await worker.getNextJob(token)) as DaemonJob;
    const lost: unknown[] = [];
    const journal = new JobJournal(job, {
      keys: reader.keys,
      urlOf: (key) => key,
      reload: () => reader.find(job.id ?? ''),
      onLost: (failure) => lost.push(failure),
      onError: () => undefined,
      ...more,
    });
    journals.push(journal);
    return { job, journal, lost };
  }

  async function untilStatusSays(id: string, message: string): Promise<void> {
    await eventually(async () => (await reader.status(id))?.progresssMessage === message);
  }

  test('an attempt that was overtaken stops writing, and learns of it', async () => {
    const { id } = await daemons.start('BACKUP', 'somebody');
    const first = await attempt('1');
    await first.journal.note({ safetyKey: 'of the first' });
    await first.job.moveToWait('1');
    const second = await attempt('2');
    first.journal.report({ message: 'from the dead', current: 0, total: 0 });
    await eventually(() => first.lost.length > 0);
    expect(first.lost).toEqual([expect.objectContaining({ code: 'WORKER_LOST_LOCK' })]);
    await expect(first.journal.note({})).rejects.toMatchObject({ code: 'WORKER_LOST_LOCK' });
    expect(await first.journal.isOvertaken()).toBe(true);
    expect(await second.journal.isOvertaken()).toBe(false);
    expect(second.journal.notes.safetyKey).toBe('of the first');
    await untilStatusSays(id, 'Starting...');
    await second.job.moveToFailed(new Error('done'), '2');
  });

  test('progress of an overtaken attempt is overwritten', async () => {
    const { id } = await daemons.start('BACKUP', 'somebody');
    let look: () => void = () => undefined;
    const looked = new Promise<void>((resolve) => (look = resolve));
    let wake: () => void = () => undefined;
    const awake = new Promise<void>((resolve) => (wake = resolve));
    const first = await attempt('1', {
      // It is frozen just after its check.
      reload: async () => {
        const now = await reader.find(id);
        look();
        await awake;
        return now;
      },
    });
    const written = jest.spyOn(first.job, 'updateProgress');
    first.journal.report({ message: 'stale', current: 0, total: 0 });
    const writing = first.journal.note({});
    await looked;
    await first.job.moveToWait('1');
    const second = await attempt('2');
    second.journal.report({ message: 'true', current: 0, total: 0 });
    await untilStatusSays(id, 'true');
    wake();
    await writing;
    expect(written.mock.calls).toEqual([[expect.objectContaining({ message: 'stale' })]]);
    await untilStatusSays(id, 'true');
    await eventually(() => first.lost.length > 0);
    await second.job.moveToFailed(new Error('done'), '2');
  });
});
