import { randomBytes } from 'node:crypto';
import { Queue, Worker } from 'bullmq';
import { readSettings } from '#config';
import { Keys } from '#keys';
import { createLogger } from '#logging';
import { queueConnection } from '../../libs/queue/connection.js';
import type { DaemonJobQueue } from '../../libs/queue/daemon-job.js';
import { DaemonQueue } from '../../libs/queue/daemon-queue.js';
import { DaemonReader } from '../../libs/queue/daemon-reader.js';
import { newDatabase } from './servers.js';

export interface TestQueue {
  queue: DaemonJobQueue;
  /** It takes jobs only if a test asks for one. */
  worker: Worker;
  reader: DaemonReader;
  daemons: DaemonQueue;
}

/** Makes a queue that no other test uses. @param queueUrl undefined for one in a new PostgreSQL database */
export async function newQueue(queueUrl: string | undefined, lockDuration = 30_000): Promise<TestQueue> {
  const settings = readSettings({
    SECRET_KEY: 'ab'.repeat(32),
    DATABASE_URL: 'postgres://unused/it',
    S3_BUCKET: 'unused',
    QUEUE_URL: queueUrl ?? (await newDatabase()),
  });
  const logger = createLogger('test', 'silent');
  const connection = await queueConnection(settings.queueUrl, 'worker', logger);
  const name = `test-${randomBytes(4).toString('hex')}`;
  const queue: DaemonJobQueue = new Queue(name, connection);
  const worker = new Worker(name, undefined, { ...connection, lockDuration });
  const reader = new DaemonReader(queue, new Keys(settings.secretKeys), queue);
  return { queue, worker, reader, daemons: new DaemonQueue(reader, settings.daemonHistory, logger) };
}
