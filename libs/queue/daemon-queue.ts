import { randomUUID } from 'node:crypto';
import { type Job, type JobsOptions, PostgresQueueBackend, type Queue, RedisQueueBackend } from 'bullmq';
import type { Settings } from '#config';
import { errorSentence, pollUntil } from '#common';
import type { DaemonStatus, DaemonType } from '#contracts';
import type { Logger } from '#logging';
import { newCheckId } from './check-ids.js';
import { isConfirmed, signedData } from './authentic-jobs.js';
import type { DaemonJob, DaemonJobData, JobWork } from './daemon-job.js';
import type { DaemonReader } from './daemon-reader.js';
import { daemonStatus } from './daemon-status.js';
import { deduplication, expectSame, undecided } from './idempotency.js';
import { forgetEnded } from './job-batches.js';
import { answered } from './queue-unavailable.js';
import { CONFIRMED_WITHIN_MS } from './taken-jobs.js';

const DAY_MS = 24 * 60 * 60 * 1000;

/** How long a mark stands for the job that was started for it. */
const MARKED_MS = 30 * DAY_MS;

/** How long another call may take to confirm the job that it added. */
const CONFIRMED_SOON_MS = 2_000;
/** How long a call waits until a job that another call added is confirmed or has failed. */
const DECIDED_WITHIN_MS = CONFIRMED_WITHIN_MS + 2_000;
const LOOK_EVERY_MS = 20;

/** Checks and their results are remembered for those who wait for them. The newest result of each repository stays. */
const CHECKS_KEPT = { count: 100 };

/** How long Redis keeps the value of the write check. */
const WRITE_CHECK_KEPT_MS = 60_000;

/** The API's side of the queue: starts, terminates and forgets jobs. */
export class DaemonQueue {
  private readonly jobOptions: JobsOptions;

  constructor(
    private readonly reader: DaemonReader,
    private readonly history: Settings['daemonHistory'],
    private readonly logger: Logger,
  ) {
    // BullMQ applies the count when a job ends. It would apply an age by the clock of that worker: see `forget`.
    const { count } = history;
    this.jobOptions = {
      // For transient errors: permanent ones fail at once.
      attempts: 3,
      backoff: { type: 'exponential', delay: 2_000 },
      removeOnComplete: { count },
      removeOnFail: { count },
      stackTraceLimit: 3,
    };
  }

  /**
   * Starts a job. A queue that does not answer may have taken the job, or take it later, although the client was told
   * that nothing was started. So the API signs the job after the queue has answered, and no worker runs an unsigned job.
   * @throws QueueUnavailable: nothing is started
   */
  start(type: DaemonType, startedBy: string, work: JobWork = {}): Promise<DaemonStatus> {
    return this.add(type, jobData(startedBy, work), this.reader.queue, this.jobOptions);
  }

  /**
   * Starts a check of a repository, or a preview of the restore of an archive.
   * @throws QueueUnavailable: nothing is started
   */
  startCheck(startedBy: string, work: Pick<JobWork, 'repository' | 'archive'>): Promise<DaemonStatus> {
    return this.add('CHECK', jobData(startedBy, work), this.reader.checks, {
      jobId: newCheckId(),
      removeOnComplete: CHECKS_KEPT,
      removeOnFail: CHECKS_KEPT,
    });
  }

  private async add(
    type: DaemonType,
    data: DaemonJobData,
    queue: DaemonReader['queue'],
    options: JobsOptions,
  ): Promise<DaemonStatus> {
    const adding = queue.add(type, { ...data, unconfirmed: true }, options);
    const job = asDaemonJob(await answered(adding, ' Nothing was started.'));
    try {
      await job.updateData(signedData(this.reader.keys, job, data));
    } catch (error) {
      // The client has the job's id, and sees in its status what happens to it.
      this.logger.warn({ daemon: job.id, reason: errorSentence(error) }, 'Cannot confirm a job');
    }
    return daemonStatus(job);
  }

  /**
   * Starts at most one job per mark. Safe to call again after a lost reply.
   * @param mark names the purpose of the job; remembered for 30 days
   * @throws QueueUnavailable, Failure IDEMPOTENCY_KEY_BUSY: the job may have been started; call again
   */
  startMarked(mark: string, type: DaemonType, startedBy: string, work: JobWork = {}): Promise<DaemonStatus> {
    return this.startUnlessMarked({ id: mark, ttl: MARKED_MS }, type, startedBy, work);
  }

  /**
   * Starts a job unless one was started with this key for this account: then gives that one's status. If a call with a
   * key fails, another call with it finds out what happened; the two never start two jobs.
   * @param key the client's Idempotency-Key
   * @throws QueueUnavailable; Failure IDEMPOTENCY_KEY_REUSED, IDEMPOTENCY_KEY_BUSY
   */
  startOnce(key: string, type: DaemonType, startedBy: string, work: JobWork = {}): Promise<DaemonStatus> {
    return this.startUnlessMarked(deduplication(key, startedBy), type, startedBy, work);
  }

  /**
   * Terminates a job. Its worker stops it; a waiting job never starts. A job that has ended stays as it is.
   * @returns false if there is no such job. @throws QueueUnavailable
   */
  async terminate(id: string): Promise<boolean> {
    const job = await this.reader.find(id);
    // No worker runs a job that is not authentic.
    if (job === undefined) return (await this.reader.status(id)) !== undefined;
    if (job.finishedOn === undefined && job.data.terminatedOn === undefined)
      await this.reader.update(job, { terminatedOn: Date.now() });
    return true;
  }

  /**
   * Forgets jobs that ended before the history's first day.
   * @param now by the database's clock. @throws QueueUnavailable
   */
  forget(now: number): Promise<void> {
    return forgetEnded(this.reader.queue, now - this.history.days * DAY_MS);
  }

  /** Checks that a job could be started now. @throws QueueUnavailable */
  async check(): Promise<void> {
    await answered(tryToWrite(this.reader.queue));
  }

  private async startUnlessMarked(
    mark: { id: string; ttl: number },
    type: DaemonType,
    startedBy: string,
    work: JobWork,
  ): Promise<DaemonStatus> {
    const { queue, keys } = this.reader;
    const deadline = performance.now() + DECIDED_WITHIN_MS;
    const tryOnce = async (): Promise<DaemonStatus | undefined> => {
      const data = { ...jobData(startedBy, work), mark: mark.id };
      const options = { ...this.jobOptions, deduplication: mark };
      const adding = queue.add(type, { ...data, unconfirmed: true }, options);
      // If the queue took no job, this has the id of the earlier one: BullMQ tells in no other way.
      const added = await answered(adding, ' Nothing was started.');
      const job = await this.reader.find(added.id ?? '');
      if (job?.data.nonce === data.nonce) {
        // Only the call that added a job signs it. Signing a job that another call added could undo a termination, and
        // would sign the jobs of everybody who may write to the queue.
        const signing = job.updateData(signedData(keys, job, data));
        await answered(signing, ' Ask again with the same Idempotency-Key.');
        return daemonStatus(job);
      }
      const earlier = job?.data.mark === mark.id ? await this.decided(job, deadline) : undefined;
      if (earlier !== undefined) {
        expectSame(earlier, type, data);
        return this.reader.statusOf(earlier);
      }
      // Frees the mark, unless it stands for a newer job by now.
      await answered(added.removeDeduplicationKey());
      return undefined;
    };
    const status = await pollUntil(tryOnce, { everyMs: 0, timeoutMs: DECIDED_WITHIN_MS });
    if (status === undefined) throw undecided();
    return status;
  }

  /**
   * Waits until a job that another call added is confirmed or gone. Removes a job that its call has failed to confirm in
   * time, so that the key is free. Should that call try after all, it finds no job, and reports that.
   * @returns undefined if there is no job, so that one can be started
   */
  private async decided({ id = '' }: DaemonJob, deadline: number): Promise<DaemonJob | undefined> {
    const givenUp = performance.now() + CONFIRMED_SOON_MS;
    const answer = await pollUntil(
      async () => {
        const job = await this.reader.find(id);
        if (job === undefined || isConfirmed(job)) return { job };
        if (job.finishedOn !== undefined) return { job: undefined };
        // A job that a worker has taken fails by itself. Another call may be first to remove any other: the next look
        // shows that, or that the queue is unavailable.
        if (performance.now() > givenUp && (await answered(job.getState())) !== 'active')
          await job.remove().catch(() => undefined);
        return undefined;
      },
      { everyMs: LOOK_EVERY_MS, timeoutMs: deadline - performance.now() },
    );
    if (answer === undefined) throw undecided();
    return answer.job;
  }
}

function jobData(startedBy: string, work: JobWork): DaemonJobData {
  return { startedBy, startedOn: Date.now(), nonce: randomUUID(), ...work };
}

/** BullMQ's Queue has no type parameter for the progress of its jobs. */
function asDaemonJob(job: Job): DaemonJob {
  return job as DaemonJob;
}

/**
 * Writes as the start of a job does: a queue that answers may be read-only after a failover, or full.
 * @throws the queue's error
 */
async function tryToWrite(queue: Pick<Queue, 'getBackend' | 'toKey'>): Promise<void> {
  // BullMQ's type for this depends on the default backend, which is chosen at the start.
  const backend: unknown = queue.getBackend();
  if (backend instanceof RedisQueueBackend) {
    const client = await backend.client;
    await client.set(queue.toKey('write-check'), Date.now(), { PX: WRITE_CHECK_KEPT_MS });
  } else if (backend instanceof PostgresQueueBackend) {
    const { rows } = await backend.connection.pool.query('SHOW transaction_read_only');
    const [{ transaction_read_only: readOnly } = {}] = rows as { transaction_read_only?: string }[];
    if (readOnly !== 'off') throw new Error('the database is read-only');
  }
}
