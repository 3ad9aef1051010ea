import { setTimeout as sleep } from 'node:timers/promises';
import type { Job, JobsOptions, JobType } from 'bullmq';
import type { Settings } from '#config';
import { type DaemonStatus, type DaemonType, errorSentence, Failure } from '#contracts';
import type { Logger } from '#logging';
import type { ArchiveRequest, DaemonJob, DaemonJobData, DaemonJobQueue } from './daemon-job.js';
import { daemonStatus } from './daemon-status.js';
import { answered } from './queue-unavailable.js';

const DAY_SECONDS = 24 * 60 * 60;

/** How long finished daemons are remembered: BullMQ looks whenever one ends in the same way. */
function jobOptions({ count, days }: Settings['daemonHistory']): JobsOptions {
  const kept = { count, age: days * DAY_SECONDS };
  return {
    // Transient errors only: what is permanent fails at once.
    attempts: 3,
    backoff: { type: 'exponential', delay: 2_000 },
    removeOnComplete: kept,
    removeOnFail: kept,
    stackTraceLimit: 3,
  };
}

/** How long a worker waits for the API to confirm a daemon: longer than the API waits for the queue. */
const CONFIRMED_WITHIN_MS = 10_000;
const LOOK_EVERY_MS = 20;

/** Daemons that are fetched at once: BullMQ asks for each of them by itself, and the queue must answer in time. */
const PAGE = 100;

/**
 * In this order none slips through that moves on meanwhile, from waiting to active or from active back: it is met in
 * one place or in the other.
 */
const READER_STATES = ['active', 'delayed', 'waiting', 'active'] as const;

/** The API's side of the queue: starts daemons and tells how far they are. */
export class DaemonQueue {
  private readonly jobOptions: JobsOptions;

  constructor(
    readonly queue: DaemonJobQueue,
    history: Settings['daemonHistory'],
    private readonly logger: Logger,
  ) {
    this.jobOptions = jobOptions(history);
    // BullMQ tells of a broken connection here; each request that meets it fails with its own error too.
    queue.on('error', (error) => logger.warn({ reason: error.message }, 'The queue has an error'));
  }

  /**
   * A queue that does not answer may yet have taken the daemon, or take it when it comes back, though its client was
   * told that nothing was started. So it is confirmed once the queue has answered, and without that no worker runs it.
   * @throws QueueUnavailable: nothing is started
   */
  async start(type: DaemonType, startedBy: string, archive?: ArchiveRequest): Promise<DaemonStatus> {
    const data: DaemonJobData = {
      startedBy,
      startedOn: Date.now(),
      ...(archive !== undefined && { archive }),
    };
    const adding = this.queue.add(type, { ...data, unconfirmed: true }, this.jobOptions);
    const job = await answered(adding, ' Nothing was started.');
    try {
      await job.updateData(data);
    } catch (error) {
      // The client has its daemon now, and sees what becomes of it.
      this.logger.warn({ daemon: job.id, reason: errorSentence(error) }, 'A daemon could not be confirmed');
    }
    return daemonStatus(asDaemonJob(job));
  }

  /**
   * Waits until a daemon is confirmed that a worker has taken.
   * @throws Failure NOT_CONFIRMED; QueueUnavailable
   */
  async confirmed(job: DaemonJob): Promise<DaemonJob> {
    let now: DaemonJob | undefined = job;
    for (const deadline = Date.now() + CONFIRMED_WITHIN_MS; now?.data.unconfirmed === true;) {
      if (Date.now() > deadline)
        throw new Failure(
          'NOT_CONFIRMED',
          'permanent',
          'Nothing was done: when this was asked for, the queue did not answer in time, and the answer was that nothing is started.',
        );
      await sleep(LOOK_EVERY_MS);
      now = await this.find(job.id ?? '');
    }
    return now ?? job;
  }

  /** @returns undefined when there is no such daemon. @throws QueueUnavailable */
  async status(id: string): Promise<DaemonStatus | undefined> {
    const job = await this.find(id);
    if (job === undefined) return undefined;
    // An attempt has begun: how it ends is for a worker to say, whoever asked for an end in between.
    if (
      job.data.terminatedOn === undefined ||
      job.finishedOn !== undefined ||
      typeof job.progress === 'object'
    )
      return daemonStatus(job);
    // Told to end before it began. It never will, unless a worker had taken it just before.
    const state = await answered(job.getState());
    if (state === 'completed' || state === 'failed') return this.status(id);
    return daemonStatus(job, { neverRuns: state !== 'active' || !takenBefore(job) });
  }

  /** @returns the job as it is now. @throws QueueUnavailable */
  async find(id: string): Promise<DaemonJob | undefined> {
    const job = await answered(this.queue.getJob(id));
    return job === undefined ? undefined : asDaemonJob(job);
  }

  /**
   * Tells a daemon to end. What a worker has taken, it stops; what waits never starts, whenever a worker comes.
   * One that has ended already stays as it is.
   * @returns false when there is no such daemon. @throws QueueUnavailable
   */
  async terminate(id: string): Promise<boolean> {
    const job = await this.find(id);
    if (job === undefined) return false;
    if (job.finishedOn === undefined && job.data.terminatedOn === undefined)
      await answered(job.updateData({ ...job.data, terminatedOn: Date.now() }));
    return true;
  }

  /** Whether a daemon was told to end. @throws QueueUnavailable */
  async isTerminated(id: string): Promise<boolean> {
    return (await this.find(id))?.data.terminatedOn !== undefined;
  }

  /**
   * The daemons that an archive must stay for: those that wait to read it, those that will try again, and those that
   * read it now.
   * @param key the archive's in the bucket
   * @returns their ids. @throws QueueUnavailable
   */
  async readersOf(key: string): Promise<string[]> {
    const ids = new Set<string>();
    for (const state of READER_STATES)
      for await (const job of this.jobsOf(state)) {
        const neverRuns = job.data.terminatedOn !== undefined && state !== 'active';
        if (job.data.archive?.key === key && !neverRuns) ids.add(job.id ?? '');
      }
    return [...ids];
  }

  /** The daemons in one of the queue's states, newest first: those that leave at the other end shift nobody. */
  private async *jobsOf(state: JobType): AsyncGenerator<DaemonJob> {
    for (let start = 0; ; start += PAGE) {
      const jobs = await answered(this.queue.getJobs([state], start, start + PAGE - 1));
      yield* jobs.map(asDaemonJob);
      if (jobs.length === 0) return;
    }
  }

  /** @throws QueueUnavailable */
  async check(): Promise<void> {
    await answered(this.queue.getJobCounts('waiting'));
  }
}

/** BullMQ's Queue has no type parameter for what its jobs' progress is. */
function asDaemonJob(job: Job): DaemonJob {
  return job as DaemonJob;
}

/** Whether a worker took the job before it was told to end: one that takes it later ends it at once. */
function takenBefore(job: Job<DaemonJobData>): boolean {
  return (job.processedOn ?? Infinity) < (job.data.terminatedOn ?? Infinity);
}
