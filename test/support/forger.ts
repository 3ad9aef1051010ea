import { createHash, randomBytes } from 'node:crypto';
import { type Job, Queue, Worker } from 'bullmq';
import { Redis } from 'ioredis';
import { OWN_SCHEMAS, Secret } from '#config';
import { createLogger } from '#logging';
import { queueConnection } from '../../libs/queue/connection.js';
import { eventually } from './eventually.js';
import { sql } from './servers.js';

/** An attacker who may write to the queue but does not have SECRET_KEY. */
export class Forger {
  private constructor(
    readonly daemons: Queue,
    readonly checks: Queue,
    readonly notifications: Queue,
    readonly workers: Queue,
    /** Takes jobs like a worker, one at a time. */
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
      new Queue('checks', connection),
      new Queue('notifications', connection),
      new Queue('workers', connection),
      new Worker('daemons', undefined, connection),
      queueUrl,
    );
  }

  /** Gets a job. @throws Error if it does not exist */
  async job(id: string, queue = this.daemons): Promise<Job> {
    const job = (await queue.getJob(id)) as Job | undefined;
    if (job === undefined) throw new Error(`There is no job ${id}`);
    return job;
  }

  /** Replaces a job's type, which BullMQ never does, and its data. */
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

  /** Takes the next job, which must be this one, and completes it. */
  async complete(id: string, result: unknown): Promise<void> {
    const token = randomBytes(8).toString('hex');
    const job = await eventually(
      async () => (await this.worker.getNextJob(token, { block: false })) as Job | undefined,
    );
    if (job.id !== id) throw new Error(`The next job is ${job.id}, not ${id}`);
    await job.moveToCompleted(result, token, false);
  }

  /** Waits until a job has ended. */
  async ended(id: string, queue = this.daemons): Promise<Job> {
    return eventually(async () => {
      const job = await this.job(id, queue);
      return job.finishedOn !== undefined && job;
    });
  }

  async close(): Promise<void> {
    await this.worker.close();
    await this.daemons.close();
    await this.checks.close();
    await this.notifications.close();
    await this.workers.close();
  }
}

/** The name of an address in a notification. */
export function addressName(url: string): string {
  return createHash('sha256').update(url).digest('hex').slice(0, 16);
}
