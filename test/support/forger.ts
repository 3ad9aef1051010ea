import { createHash, randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Job, Queue, Worker } from 'bullmq';
import { Secret } from '#config';
import { createLogger } from '#logging';
import { queueConnection } from '../../libs/queue/connection.js';

/** Somebody who may write to the queue, and has no SECRET_KEY. */
export class Forger {
  private constructor(
    readonly daemons: Queue,
    readonly notifications: Queue,
    /** Takes jobs as a worker does, one at a time. */
    private readonly worker: Worker,
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
      new Worker('daemons', undefined, connection),
    );
  }

  /** @returns a job as it is. */
  async job(id: string, queue = this.daemons): Promise<Job> {
    const job = (await queue.getJob(id)) as Job | undefined;
    if (job === undefined) throw new Error(`There is no job ${id}`);
    return job;
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
  }
}

/** The name that a notification has for an address. */
export function addressName(url: string): string {
  return createHash('sha256').update(url).digest('hex').slice(0, 16);
}
