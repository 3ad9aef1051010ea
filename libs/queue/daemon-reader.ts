import type { Job, JobType } from 'bullmq';
import { DEFAULT_REPOSITORY, type DaemonState, type DaemonStatus, type DaemonType } from '#contracts';
import type { Keys } from '#keys';
import { isCheckId } from './check-ids.js';
import { checkedJob, foreignStatus, isConfirmed, signedData } from './authentic-jobs.js';
import type { DaemonJob, DaemonJobData, DaemonJobQueue } from './daemon-job.js';
import { daemonStatus } from './daemon-status.js';
import { daemonIds, inBatches } from './job-batches.js';
import { answered, undefinedIfUnreadable } from './queue-unavailable.js';

/** Small pages: most callers already know all ended jobs but the last one or two. */
const ENDED_AT_ONCE = 10;

/** The states that the queue may have a job of each status in. */
const STATES_OF: Record<DaemonState, readonly JobType[]> = {
  STARTED: ['waiting', 'delayed', 'active'],
  IN_PROGRESS: ['waiting', 'delayed', 'active'],
  COMPLETED: ['completed'],
  // A job that was terminated before its start waits until a worker takes it.
  FAILED: ['waiting', 'delayed', 'active', 'failed'],
};
const ALL_STATES: readonly JobType[] = [...STATES_OF.FAILED, ...STATES_OF.COMPLETED];

/**
 * The order in which states are searched for jobs that may move on meanwhile, from waiting to active or back: such a job
 * is found in one state or in the other.
 */
const READER_STATES = ['active', 'delayed', 'waiting', 'active'] as const;

/** Selects the jobs of a list. */
export interface DaemonFilter {
  type?: DaemonType | undefined;
  status?: DaemonState | undefined;
  /** The name of a repository. */
  repository?: string | undefined;
  /** Whether a job of the list is wanted. */
  matches?: ((status: DaemonStatus) => boolean) | undefined;
  limit: number;
  offset: number;
}

/**
 * Reads jobs from the queue, for APIs and workers. Others may write to the queue, so this class trusts only data that an
 * API or a worker has signed.
 */
export class DaemonReader {
  /** Settles when the last filtered list is complete. */
  private lastChoice: Promise<unknown> = Promise.resolve();

  constructor(
    readonly queue: DaemonJobQueue,
    readonly keys: Keys,
    /** The queue of the checks. */
    readonly checks: DaemonJobQueue,
  ) {}

  /** @returns the job as it is now; undefined unless there is an authentic one. @throws QueueUnavailable */
  async find(id: string): Promise<DaemonJob | undefined> {
    const job = await this.fetch(id);
    return job && checkedJob(this.keys, job);
  }

  /** @returns undefined if there is no such job. @throws QueueUnavailable */
  async status(id: string): Promise<DaemonStatus | undefined> {
    const found = await this.fetch(id);
    const job = found && checkedJob(this.keys, found);
    return job === undefined ? found && foreignStatus(found) : this.statusOf(job);
  }

  /** The status of a fetched job. @throws QueueUnavailable */
  async statusOf(job: DaemonJob): Promise<DaemonStatus> {
    const { terminatedOn, neverRuns } = job.data;
    // The worker of a begun attempt reports how it ends, even if the job is terminated meanwhile.
    if (terminatedOn === undefined || job.finishedOn !== undefined || typeof job.progress === 'object')
      return daemonStatus(job);
    // Terminated before an attempt was seen. A worker that has the job will report its end; without one, none will run
    // it. Recording that once keeps the answer stable when a worker takes the job later: no clocks are compared.
    if (neverRuns === true) return daemonStatus(job);
    const state = await answered(job.getState());
    if (state === 'completed' || state === 'failed')
      return daemonStatus((await this.find(job.id ?? '')) ?? job);
    if (state !== 'active') await this.update(job, { neverRuns: true });
    return daemonStatus(job);
  }

  /** The status of a job that an API has signed; undefined for any other. @throws QueueUnavailable */
  async authenticStatus(id: string): Promise<DaemonStatus | undefined> {
    const job = await this.find(id);
    return job !== undefined && isConfirmed(job) ? this.statusOf(job) : undefined;
  }

  /**
   * The status of a job that was started for a mark. A queue that lost its data counts ids from 1 again, so only the mark
   * shows that it is the same job.
   * @returns undefined if the queue does not know the job. @throws QueueUnavailable
   */
  async statusOfMarked(id: string, mark: string): Promise<DaemonStatus | undefined> {
    const job = await this.find(id);
    return job?.data.mark === mark && isConfirmed(job) ? this.statusOf(job) : undefined;
  }

  /** Changes the data of a checked job. Unsigned data stays unsigned. @throws QueueUnavailable */
  async update(job: DaemonJob, change: Partial<DaemonJobData>): Promise<void> {
    const data = { ...job.data, ...change };
    await answered(job.updateData(isConfirmed(job) ? signedData(this.keys, job, data) : data));
  }

  /**
   * The jobs that an archive must stay for: those that wait to read it, those that will be retried, and those that read
   * it now.
   * @param key the archive's in the bucket
   * @returns their ids. @throws QueueUnavailable
   */
  async readersOf(key: string): Promise<string[]> {
    const ids = new Set<string>();
    for (const state of READER_STATES)
      for await (const job of inBatches(await this.idsOf([state]), (id) => this.find(id))) {
        const neverRuns = job.data.terminatedOn !== undefined && state !== 'active';
        if (job.data.archive?.key === key && !neverRuns) ids.add(job.id ?? '');
      }
    return [...ids];
  }

  /** The ids of the waiting jobs, the next one first and those last that wait for a time, and the number of jobs that a worker has. @throws QueueUnavailable */
  async unended(): Promise<{ waiting: string[]; active: number }> {
    const [waiting, delayed, { active = 0 }] = await Promise.all([
      answered(this.queue.getRanges(['waiting'], 0, -1, true)),
      answered(this.queue.getRanges(['delayed'], 0, -1, true)),
      answered(this.queue.getJobCounts('active')),
    ]);
    return { waiting: daemonIds([...waiting, ...delayed]), active };
  }

  /**
   * The authentic jobs that have ended since a time, by their workers' clocks, in no order. A job that ends meanwhile may
   * be missing, and a job may come twice.
   * @param since milliseconds since 1970. @throws QueueUnavailable
   */
  async *endedSince(since: number): AsyncGenerator<{ endedOn: number; status: DaemonStatus }> {
    for (const state of ['completed', 'failed'] as const)
      for (let start = 0, isLast = false; !isLast; start += ENDED_AT_ONCE) {
        // The last to end come first.
        const ids = await answered(this.queue.getRanges([state], start, start + ENDED_AT_ONCE - 1));
        isLast = ids.length < ENDED_AT_ONCE;
        for await (const job of inBatches(ids, (id) => this.find(id))) {
          const { finishedOn: endedOn = 0 } = job;
          if (endedOn < since) isLast = true;
          else if (isConfirmed(job)) yield { endedOn, status: daemonStatus(job) };
        }
      }
  }

  /**
   * Lists the remembered jobs, newest first. Checks, which change nothing, are listed if they are asked for, without their
   * results. A filter reads all of them in small steps, and only one filtered list is
   * read at a time.
   * @throws QueueUnavailable
   */
  async list({
    type,
    status,
    repository,
    matches,
    limit,
    offset,
  }: DaemonFilter): Promise<{ daemons: DaemonStatus[]; total: number }> {
    const states = status === undefined ? ALL_STATES : STATES_OF[status];
    const ids = await (type === 'CHECK' ? this.checkIdsOf(states) : this.idsOf(states));
    const unfiltered = type === undefined && repository === undefined && matches === undefined;
    if (unfiltered && (status === undefined || status === 'COMPLETED')) {
      const page = await Promise.all(ids.slice(offset, offset + limit).map((id) => this.status(id)));
      return { daemons: page.filter((daemon) => daemon !== undefined), total: ids.length };
    }
    const choosing = this.lastChoice.then(async () => {
      const daemons: DaemonStatus[] = [];
      let total = 0;
      for await (const daemon of inBatches(ids, (id) => this.status(id))) {
        if (type !== undefined && daemon.type !== type) continue;
        if (status !== undefined && daemon.status !== status) continue;
        if (repository !== undefined && (daemon.repository ?? DEFAULT_REPOSITORY) !== repository) continue;
        if (matches?.(daemon) === false) continue;
        if (total >= offset && daemons.length < limit) daemons.push(withoutResult(daemon));
        total++;
      }
      return { daemons, total };
    });
    this.lastChoice = choosing.catch(() => undefined); // Its own caller gets the error.
    return choosing;
  }

  /** The ids of the jobs in some of the queue's states, newest first. */
  private async idsOf(states: readonly JobType[]): Promise<string[]> {
    const ids = await answered(this.queue.getRanges([...states], 0, -1));
    return daemonIds(ids).sort((one, other) => Number(other) - Number(one));
  }

  private async checkIdsOf(states: readonly JobType[]): Promise<string[]> {
    const ids = await answered(this.checks.getRanges([...states], 0, -1));
    return ids.filter(isCheckId).sort().reverse();
  }

  private async fetch(id: string): Promise<Job | undefined> {
    const queue = isCheckId(id) ? this.checks : this.queue;
    const job = await answered(queue.getJob(id).catch(undefinedIfUnreadable));
    return job?.id === id ? job : undefined;
  }
}

/** Results of checks are long. */
function withoutResult(status: DaemonStatus): DaemonStatus {
  const shown = { ...status };
  delete shown.check;
  delete shown.restorePlan;
  return shown;
}
