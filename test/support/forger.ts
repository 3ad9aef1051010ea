import { createHash, randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Job, Queue, Worker } from 'bullmq';
import { Redis } from 'ioredis';
import { OWN_SCHEMAS, Secret } from '#config';
import { createLogger } from '#logging';
import { queueConnection } from '../../libs/queue/connection.js';
import { sql } from './servers.js';

/** Somebody who may write to the queue, and has no SECRET_KEY. */
export class Forger {
  private constructor(
    readonly daemons: Queue,
    readonly notifications: Queue,
    readonly workers: Queue,
    /** Takes jobs as a worker does, one at a time. */
    private readonly worker: Worker,
    private readonly queueUrl: string,
  ) {}

  static async at(queueUrl: string): Promise<Forger> {
    const connection = await queueConnection(
      new Secret(queueUrl),
      'worker',
      createLogger('forger', 'silent'),
    );
    return new Forger(
      new Queue('daemons', connection),
      new Queue('notifications', connection),
      new Queue('workers', connection),
      new Worker('daemons', undefined, connection),
      queueUrl,
    );
  }

  /** @returns a job as it is. */
  async job(id: string, queue = this.daemons): Promise<Job> {
    const job = (await queue.getJob(id)) as Job | undefined;
    if (job === undefined) throw new Error(`There is no job ${id}`);
    return job;
  }

  /** Gives a job another type, which BullMQ itself never does, and other data. */
  async replace(id: string, type: string, data: object): Promise<void> {
    if (this.queueUrl.startsWith('postgres')) {
      const job = `UPDATE ${OWN_SCHEMAS.queue}.job SET name = $2, data = $3 WHERE queue = 'daemons' AND id = $1`;
      await sql(this.queueUrl, job, [id, type, JSON.stringify(data)]);
    } else {
      const redis = new Redis(this.queueUrl);
      await redis.hset(`snapshotd:daemons:${id}`, { name: type, data: JSON.stringify(data) });
      redis.disconnect();
    }
  }

  /** Takes the job that is next, which is to be this one, and says that it has completed. */
  async complete(id: string, result: unknown): Promise<void> {
    const token = randomBytes(8).toString('hex');
    let job: Job | undefined;
    while ((job = (await this.worker.getNextJob(token, { block: false })) as Job | undefined) === undefined)
      await sleep(20);
    if (job.id !== id) throw new Error(`The next job is ${job.id}, not ${id}`);
    await job.moveToCompleted(result, token, false);
  }

  /** Waits until a worker is done with a job. @returns the job then */
  async ended(id: string, queue = this.daemons): Promise<Job> {
    for (;;) {
      const job = await this.job(id, queue);
      if (job.finishedOn !== undefined) return job;
      await sleep(20);
    }
  }

  async close(): Promise<void> {
    await this.worker.close();
    await this.daemons.close();
    await this.notifications.close();
    await this.workers.close();
  }
}

/** The name that a notification has for an address. */
export function addressName(url: string): string {
  return createHash('sha256').update(url).digest('hex').slice(0, 16);
}
