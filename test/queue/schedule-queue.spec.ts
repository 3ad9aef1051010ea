import { randomBytes } from 'node:crypto';
import { Secret } from '#config';
import { createLogger } from '#logging';
import { newDatabase, queues } from '../support/servers.js';
import { ScheduleQueue } from '../../libs/queue/schedule-queue.js';

test.each(queues)('the clock of the %s queue uses the given times', async (_title, queueUrl) => {
  const url = new Secret(queueUrl ?? (await newDatabase()));
  const next = Date.now() + 12_345_678;
  const schedules = await ScheduleQueue.open(url, () => next, createLogger('test', 'silent'));
  const name = `clock-${randomBytes(4).toString('hex')}`;
  try {
    await schedules.arm({ name, pattern: '0 0 * * *', timeZone: 'Africa/Cairo' }, next);
    expect(await schedules.queue.getJobScheduler(name)).toMatchObject({ next });
    await schedules.disarm(name);
  } finally {
    await schedules.close();
  }
});
