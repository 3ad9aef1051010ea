import { z } from 'zod';
import { isSameDatabase } from '#common';
import {
  DEFAULT_REPOSITORY,
  type DatabaseIdentity,
  type RepositoryIdentity,
  type WorkerView,
} from '#contracts';
import type { Keys } from '#keys';
import { inBatches } from './job-batches.js';
import { answered } from './queue-unavailable.js';
import { SignedRecords, type WorkerJobQueue } from './signed-records.js';

/** The job that names the database of the default repository. Those of others have their names at the end. */
const IDENTITY_JOB = 'repository-identity';
const WORKER_PREFIX = 'worker-';

/** Limits the jobs that an API reads, because others may write to the queue. */
const MOST_WORKERS = 500;
/** The queue also holds a record for each repository and each kept database. */
const MOST_RECORDS = 20_000;
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
  // Workers of 0.1.0 do not write these.
  node: z.string().nullable().default(null),
  pgDump: z
    .object({ version: z.string(), source: z.enum(['PATH', 'bundled']) })
    .nullable()
    .default(null),
  jobs: z.array(z.string()).default([]),
  concurrency: z.number().nullable().default(null),
  repositories: z.array(z.string()).nullable().default(null),
  target: z
    .object({ host: z.string(), port: z.number(), database: z.string(), user: z.string() })
    .nullable()
    .default(null),
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
  next: databaseIdentity.optional(),
});

/** The heartbeat that a worker writes every five seconds. */
export type Beat = Omit<WorkerView, 'lastBeatOn'> & { beat: number; at: number };

/** The database of the workers, and those that the repository was in before. */
export interface IdentityRecord {
  identity: DatabaseIdentity;
  predecessors: DatabaseIdentity[];
  /** Milliseconds since 1970. */
  recordedOn: number;
  /** The database that a swap is about to put in its place, or has just put there. */
  next?: DatabaseIdentity | undefined;
}

/** The heartbeats of the workers, and the database that the queue is for. All methods throw QueueUnavailable. */
export class WorkerRegistry {
  private readonly records: SignedRecords;

  constructor(
    private readonly queue: WorkerJobQueue,
    keys: Keys,
  ) {
    this.records = new SignedRecords(queue, keys);
  }

  /** Writes a worker's heartbeat. */
  async beat(beat: Beat): Promise<void> {
    await this.records.write(jobIdOf(beat.id), 'beat', beat);
  }

  /** Removes a worker from the list. */
  async remove(id: string): Promise<void> {
    await this.records.remove(jobIdOf(id));
  }

  /** The last heartbeat of each worker, including dead ones. Skips jobs that no worker has written. */
  async beats(): Promise<Beat[]> {
    const all = await answered(this.queue.getRanges(['waiting'], 0, MOST_RECORDS - 1));
    const ids = all.filter((id) => id.startsWith(WORKER_PREFIX)).slice(0, MOST_WORKERS);
    const read = async (id: string) => {
      const job = await this.records.fetch(id);
      const facts = this.records.factsOf(job, 'beat', beatSchema);
      // A heartbeat that was copied under another id is none.
      return facts === undefined || jobIdOf(facts.id) !== job?.id ? undefined : (facts as Beat);
    };
    const beats: Beat[] = [];
    for await (const beat of inBatches(ids, read)) beats.push(beat);
    return beats;
  }

  /** @returns undefined if none is recorded; 'forged' if the record fails its check */
  async identity(repository = DEFAULT_REPOSITORY): Promise<IdentityRecord | 'forged' | undefined> {
    const job = await this.records.fetch(identityJobOf(repository));
    return job === undefined
      ? undefined
      : (this.records.factsOf(job, kindOf(repository), recordSchema) ?? 'forged');
  }

  /** Records the database, unless one is recorded. If several workers try at once, one succeeds. */
  async recordFirst(identity: DatabaseIdentity, repository = DEFAULT_REPOSITORY): Promise<void> {
    const facts: IdentityRecord = { identity, predecessors: [], recordedOn: Date.now() };
    await this.records.writeFirst(identityJobOf(repository), kindOf(repository), facts);
  }

  /** Forgets the database of a repository: the next job records the one that it finds. */
  async forget(repository: string): Promise<void> {
    await this.records.remove(identityJobOf(repository));
  }

  /**
   * Records another database for a repository.
   * @param moved whether the repository has moved there: then archives of the earlier database belong to it
   */
  async accept(
    identity: DatabaseIdentity,
    moved: boolean,
    repository = DEFAULT_REPOSITORY,
  ): Promise<IdentityRecord> {
    const before = await this.identity(repository);
    const earlier =
      moved && before !== undefined && before !== 'forged' ? [before.identity, ...before.predecessors] : [];
    const facts: IdentityRecord = {
      identity,
      predecessors: earlier
        .filter((one) => isSameDatabase(one, identity) !== true)
        .slice(0, MOST_PREDECESSORS),
      recordedOn: Date.now(),
    };
    await this.records.write(identityJobOf(repository), kindOf(repository), facts);
    return facts;
  }

  /**
   * Announces the database that a swap is about to put in the repository's place. Workers that find it there accept it as a
   * move, even if the worker that swaps dies before it can.
   * @param next undefined to withdraw it, because the swap has failed
   */
  async announce(next: DatabaseIdentity | undefined, repository = DEFAULT_REPOSITORY): Promise<void> {
    const before = await this.identity(repository);
    if (before === undefined || before === 'forged') return;
    await this.records.write(identityJobOf(repository), kindOf(repository), { ...before, next });
  }

  /** Signs a record of a key of SECRET_KEY_PREVIOUS again, so that it outlives that key. */
  renewIdentity(repository = DEFAULT_REPOSITORY): Promise<void> {
    return this.records.renew(identityJobOf(repository), kindOf(repository), recordSchema);
  }
}

/** BullMQ refuses ids that are numbers. */
function jobIdOf(workerId: string): string {
  return WORKER_PREFIX + workerId;
}

/** The record of one repository never passes for that of another. */
function kindOf(repository: string): 'identity' | `identity of ${string}` {
  return repository === DEFAULT_REPOSITORY ? 'identity' : `identity of ${repository}`;
}

function identityJobOf(repository: string): string {
  return repository === DEFAULT_REPOSITORY ? IDENTITY_JOB : `${IDENTITY_JOB}-${repository}`;
}

/** The record for clients. */
export function repositoryIdentity(record: IdentityRecord | 'forged' | undefined): RepositoryIdentity {
  if (record !== undefined && record !== 'forged') {
    const { identity, predecessors, recordedOn } = record;
    return { identity, predecessors, recordedOn, problem: null };
  }
  const problem =
    record === 'forged'
      ? 'The record in the queue was not signed with this SECRET_KEY. No worker takes jobs until you accept a database.'
      : null;
  return { identity: null, predecessors: [], recordedOn: null, problem };
}
