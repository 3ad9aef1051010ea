import { randomBytes } from 'node:crypto';
import { Queue, Worker } from 'bullmq';
import { Secret } from '#config';
import { Failure } from '#common';
import { createLogger } from '#logging';
import { newDatabase, queues } from '../support/servers.js';
import { queueConnection } from '../../libs/queue/connection.js';
import { jobFailure } from '../../libs/queue/job-failure.js';

test.each(queues)('the %s queue keeps a failure with any characters', async (_title, queueUrl) => {
  const url = new Secret(queueUrl ?? (await newDatabase()));
  const connection = await queueConnection(url, 'worker', createLogger('test', 'silent'));
  const name = `failures-${randomBytes(4).toString('hex')}`;
  const queue = new Queue(name, connection);
  const worker = new Worker(name, undefined, connection);
  try {
    const { id = '' } = await queue.add('any', {});
    const job = await worker.getNextJob('token');
    const failure = new Failure('ARCHIVE_INVALID', 'permanent', 'It names \0, \ud83d and 😀.');
    await job?.moveToFailed(jobFailure(failure), 'token', false);
    const { failedReason, stacktrace } = (await queue.getJob(id)) ?? {};
    expect(failedReason).toBe('It names \ufffd, \ufffd and 😀.');
    expect(stacktrace?.[0]).toMatch(/^Failure \[ARCHIVE_INVALID\]: It names \ufffd, \ufffd and 😀\./);
  } finally {
    await worker.close();
    await queue.close();
  }
});
