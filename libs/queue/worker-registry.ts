import type { Job, Queue } from 'bullmq';
import { z } from 'zod';
import { isSameDatabase } from '#common';
import type { DatabaseIdentity, RepositoryIdentity, WorkerView } from '#contracts';
import type { Keys } from '#keys';
import { inBatches } from './job-batches.js';
import { answered } from './queue-unavailable.js';

/** A queue that nobody processes: each of its jobs is a record that workers and APIs share. */
export const WORKER_QUEUE = 'workers';

/** The job that names the database of all workers of this queue. */
const IDENTITY_JOB = 'repository-identity';

/** Limits the jobs that an API reads, because others may write to the queue. */
const MOST_WORKERS = 500;
/** Limits the record of a repository that moves often. */
const MOST_PREDECESSORS = 100;

const databaseIdentity = z.object({
  systemIdentifier: z.string().nullable(),
  databaseOid: z.number(),
  databaseName: z.string(),
});
const beatSchema = z.object({
  id: z.string(),
  /** Counts the beats: a change shows that the worker lives, even with a wrong clock. */
  beat: z.number(),
  /** When it was written, by the worker's clock. */
  at: z.number(),
  host: z.string(),
  version: z.string(),
  role: z.string().nullable(),
  superuser: z.boolean().nullable(),
  identity: databaseIdentity.nullable(),
  takesJobs: z.boolean(),
  warnings: z.array(z.object({ kind: z.string(), level: z.string(), message: z.string() })),
  since: z.number(),
});
const recordSchema = z.object({
  identity: databaseIdentity,
  predecessors: z.array(databaseIdentity),
  recordedOn: z.number(),
});

/** The heartbeat that a worker writes every five seconds. */
export type Beat = Omit<WorkerView, 'lastBeatOn'> & { beat: number; at: number };

/** The database of the workers, and those that the repository was in before. */
export interface IdentityRecord {
  identity: DatabaseIdentity;
  predecessors: DatabaseIdentity[];
  /** Milliseconds since 1970. */
  recordedOn: number;
}

/** A record with the code that authenticates it. */
interface Signed {
  facts: unknown;
  code: string;
}
export type WorkerJobQueue = Queue<Signed, void>;

/** The heartbeats of the workers, and the database that the queue is for. All methods throw QueueUnavailable. */
export class WorkerRegistry {
  constructor(
    private readonly queue: WorkerJobQueue,
    private readonly keys: Keys,
  ) {}

  /** Writes a worker's heartbeat. */
  async beat(beat: Beat): Promise<void> {
    await this.write(jobIdOf(beat.id), 'beat', beat);
  }

  /** Removes a worker from the list. */
  async remove(id: string): Promise<void> {
    await answered(this.queue.remove(jobIdOf(id)));
  }

  /** The last heartbeat of each worker, including dead ones. Skips jobs that no worker has written. */
  async beats(): Promise<Beat[]> {
    const ids = await answered(this.queue.getRanges(['waiting'], 0, MOST_WORKERS - 1));
    const read = async (id: string) => {
      const job = id === IDENTITY_JOB ? undefined : await answered(this.queue.getJob(id));
      const facts = this.factsOf(job, 'beat', beatSchema);
      // A heartbeat that was copied under another id is none.
      return facts === undefined || jobIdOf(facts.id) !== job?.id ? undefined : (facts as Beat);
    };
    const beats: Beat[] = [];
    for await (const beat of inBatches(ids, read)) beats.push(beat);
    return beats;
  }

  /** @returns undefined if none is recorded; 'forged' if the record fails its check */
  async identity(): Promise<IdentityRecord | 'forged' | undefined> {
    const job = await answered(this.queue.getJob(IDENTITY_JOB));
    return job === undefined ? undefined : (this.factsOf(job, 'identity', recordSchema) ?? 'forged');
  }

  /** Records the database, unless one is recorded. If several workers try at once, one succeeds. */
  async recordFirst(identity: DatabaseIdentity): Promise<void> {
    const facts: IdentityRecord = { identity, predecessors: [], recordedOn: Date.now() };
    // BullMQ does not add a second job with an id.
    await answered(this.queue.add('identity', this.signed('identity', facts), { jobId: IDENTITY_JOB }));
  }

  /**
   * Records another database for the workers.
   * @param moved whether the repository has moved there: then archives of the earlier database belong to it
   */
  async accept(identity: DatabaseIdentity, moved: boolean): Promise<IdentityRecord> {
    const before = await this.identity();
    const earlier =
      moved && before !== undefined && before !== 'forged' ? [before.identity, ...before.predecessors] : [];
    const facts: IdentityRecord = {
      identity,
      predecessors: earlier
        .filter((one) => isSameDatabase(one, identity) !== true)
        .slice(0, MOST_PREDECESSORS),
      recordedOn: Date.now(),
    };
    await this.write(IDENTITY_JOB, 'identity', facts);
    return facts;
  }

  /** Signs a record of a key of SECRET_KEY_PREVIOUS again, so that it outlives that key. */
  async renewIdentity(): Promise<void> {
    const job = await answered(this.queue.getJob(IDENTITY_JOB));
    const facts = this.factsOf(job, 'identity', recordSchema);
    if (facts !== undefined && this.signed('identity', facts).code !== job?.data.code)
      await this.write(IDENTITY_JOB, 'identity', facts);
  }

  private async write(jobId: string, kind: Kind, facts: unknown): Promise<void> {
    const signed = this.signed(kind, facts);
    const job = await answered(this.queue.getJob(jobId));
    if (job === undefined) await answered(this.queue.add(kind, signed, { jobId }));
    else await answered(job.updateData(signed));
  }

  private signed(kind: Kind, facts: unknown): Signed {
    return { facts, code: this.keys.sign('worker', { kind, facts }) };
  }

  private factsOf<Facts>(
    job: Job<Signed, void> | undefined,
    kind: Kind,
    schema: z.ZodType<Facts>,
  ): Facts | undefined {
    const { facts, code } = Object(job?.data) as Partial<Signed>;
    if (!this.keys.verify('worker', { kind, facts }, code)) return undefined;
    return schema.safeParse(facts).data;
  }
}

type Kind = 'beat' | 'identity';

/** BullMQ refuses ids that are numbers. */
function jobIdOf(workerId: string): string {
  return `worker-${workerId}`;
}

/** The record for clients. */
export function repositoryIdentity(record: IdentityRecord | 'forged' | undefined): RepositoryIdentity {
  if (record !== undefined && record !== 'forged') return { ...record, problem: null };
  const problem =
    record === 'forged'
      ? 'The record in the queue was not signed with this SECRET_KEY. No worker takes jobs until you accept a database.'
      : null;
  return { identity: null, predecessors: [], recordedOn: null, problem };
}
