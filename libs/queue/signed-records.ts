import type { Job, Queue } from 'bullmq';
import type { z } from 'zod';
import type { Keys } from '#keys';
import { answered } from './queue-unavailable.js';

/** A queue that nobody processes: each of its jobs is a record that workers and APIs share. */
export const WORKER_QUEUE = 'workers';

/** A record with the code that authenticates it. */
interface Signed {
  facts: unknown;
  code: string;
}
export type WorkerJobQueue = Queue<Signed, void>;

/** The kinds of records. A record of one kind never passes for another. */
type Kind = 'beat' | 'identity' | `identity of ${string}` | 'kept database' | 'check';

/**
 * Signed records in a queue, by ids that are no numbers. Others may write to the queue, so a record without a valid code
 * counts as none. All methods throw QueueUnavailable.
 */
export class SignedRecords {
  constructor(
    readonly queue: WorkerJobQueue,
    private readonly keys: Keys,
  ) {}

  fetch(id: string): Promise<Job<Signed, void> | undefined> {
    return answered(this.queue.getJob(id));
  }

  /** Writes a record, or replaces it. */
  async write(id: string, kind: Kind, facts: unknown): Promise<void> {
    const signed = this.signed(kind, facts);
    const job = await this.fetch(id);
    if (job === undefined) await answered(this.queue.add(kind, signed, { jobId: id }));
    else await answered(job.updateData(signed));
  }

  /** Writes a record unless there is one: BullMQ does not add a second job with an id. */
  async writeFirst(id: string, kind: Kind, facts: unknown): Promise<void> {
    await answered(this.queue.add(kind, this.signed(kind, facts), { jobId: id }));
  }

  async remove(id: string): Promise<void> {
    await answered(this.queue.remove(id));
  }

  /** Signs a record of a key of SECRET_KEY_PREVIOUS again, so that it outlives that key. */
  async renew(id: string, kind: Kind, schema: z.ZodType): Promise<void> {
    const job = await this.fetch(id);
    const facts = this.factsOf(job, kind, schema);
    if (facts !== undefined && this.signed(kind, facts).code !== job?.data.code)
      await this.write(id, kind, facts);
  }

  /** @returns undefined unless the record is signed, and of this kind and shape */
  factsOf<Facts>(
    job: Job<Signed, void> | undefined,
    kind: Kind,
    schema: z.ZodType<Facts>,
  ): Facts | undefined {
    const { facts, code } = Object(job?.data) as Partial<Signed>;
    if (!this.keys.verify('worker', { kind, facts }, code)) return undefined;
    return schema.safeParse(facts).data;
  }

  private signed(kind: Kind, facts: unknown): Signed {
    return { facts, code: this.keys.sign('worker', { kind, facts }) };
  }
}
