import type { Job, Queue } from 'bullmq';
import { z } from 'zod';
import { isSameDatabase } from '#common';
import type { DatabaseIdentity, RepositoryIdentity, WorkerView } from '#contracts';
import type { Keys } from '#keys';
import { answered } from './queue-unavailable.js';

/** The queue that nobody processes: each of its jobs is a fact that workers and APIs share. */
export const WORKER_QUEUE = 'workers';

/** The job that names the database which all workers of this queue work for. */
const IDENTITY_JOB = 'repository-identity';

/** A writer to the queue cannot make an API read more jobs than this. */
const MOST_WORKERS = 500;
/** A repository does not move more often than anybody would want to go back. */
const MOST_PREDECESSORS = 100;

const databaseIdentity = z.object({
  systemIdentifier: z.string().nullable(),
  databaseOid: z.number(),
  databaseName: z.string(),
});
const beatSchema = z.object({
  id: z.string(),
  /** Counts the beats: a change shows that the worker lives, whatever its clock says. */
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

/** What a worker writes every few seconds. */
export type Beat = Omit<WorkerView, 'lastBeatOn'> & { beat: number; at: number };

/** The database that the workers work for, and those that it was before. */
export interface IdentityRecord {
  identity: DatabaseIdentity;
  predecessors: DatabaseIdentity[];
  /** Milliseconds since 1970. */
  recordedOn: number;
}

/** A fact with the code that shows who wrote it. */
interface Signed {
  facts: unknown;
  code: string;
}
export type WorkerJobQueue = Queue<Signed, void>;

/**
 * What workers and APIs know of each other: heartbeats, and which database the queue is for. All methods throw
 * QueueUnavailable.
 */
export class WorkerRegistry {
  constructor(
    private readonly queue: WorkerJobQueue,
    private readonly keys: Keys,
  ) {}

  /** Writes a worker's heartbeat. */
  async beat(beat: Beat): Promise<void> {
    await this.write(jobIdOf(beat.id), 'beat', beat);
  }

  /** Takes a worker off the list. */
  async remove(id: string): Promise<void> {
    await answered(this.queue.remove(jobIdOf(id)));
  }

  /** The last heartbeat of each worker, dead ones among them. What no worker has written is passed over. */
  async beats(): Promise<Beat[]> {
    const ids = await answered(this.queue.getRanges(['waiting'], 0, MOST_WORKERS - 1));
    const jobs = await Promise.all(
      ids.filter((id) => id !== IDENTITY_JOB).map((id) => answered(this.queue.getJob(id))),
    );
    return jobs.flatMap((job) => {
      const facts = this.factsOf(job, 'beat', beatSchema);
      // One that was copied under another id is none.
      return facts === undefined || jobIdOf(facts.id) !== job?.id ? [] : [facts as Beat];
    });
  }

  /** @returns undefined where none is recorded; 'forged' where what is recorded fails its check */
  async identity(): Promise<IdentityRecord | 'forged' | undefined> {
    const job = await answered(this.queue.getJob(IDENTITY_JOB));
    return job === undefined ? undefined : (this.factsOf(job, 'identity', recordSchema) ?? 'forged');
  }

  /** Records the database, unless one is recorded: of several workers that try at once, one does. */
  async recordFirst(identity: DatabaseIdentity): Promise<void> {
    const facts: IdentityRecord = { identity, predecessors: [], recordedOn: Date.now() };
    // A job whose id is there already is not added again.
    await answered(this.queue.add('identity', this.signed('identity', facts), { jobId: IDENTITY_JOB }));
  }

  /**
   * Makes a database the one that the workers work for.
   * @param moved whether the repository has moved there: then archives of where it was are its own
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

  /** Signs the record anew where a key of SECRET_KEY_PREVIOUS has signed it, so that it outlives that key. */
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

/** BullMQ takes no numbers for ids of one's own. */
function jobIdOf(workerId: string): string {
  return `worker-${workerId}`;
}

/** The record as clients see it. */
export function repositoryIdentity(record: IdentityRecord | 'forged' | undefined): RepositoryIdentity {
  if (record !== undefined && record !== 'forged') return { ...record, problem: null };
  const problem =
    record === 'forged'
      ? 'What the queue has recorded was not signed with SECRET_KEY: no worker takes jobs until a database is accepted.'
      : null;
  return { identity: null, predecessors: [], recordedOn: null, problem };
}
