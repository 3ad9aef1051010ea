import type { Job } from 'bullmq';
import { Failure, pollUntil } from '#common';
import { checkedJob, isConfirmed, notAuthentic, signedResult } from './authentic-jobs.js';
import type { DaemonJob, DaemonJobResult, DaemonResult } from './daemon-job.js';
import type { DaemonReader } from './daemon-reader.js';
import { JobJournal, type JobJournalOptions } from './job-journal.js';

/** How long a worker waits for the API to confirm a job: longer than the API waits for the queue. */
export const CONFIRMED_WITHIN_MS = 10_000;
const LOOK_EVERY_MS = 20;

/** The worker's side of the queue: the jobs that it has taken. */
export class TakenJobs {
  constructor(private readonly reader: DaemonReader) {}

  /**
   * Waits until the API has confirmed a job.
   * @throws Failure NOT_CONFIRMED, NOT_AUTHENTIC; QueueUnavailable
   */
  async confirmed(taken: Job): Promise<DaemonJob> {
    const isNoted = typeof taken.progress === 'object';
    let job = checkedJob(this.reader.keys, taken);
    if (job !== undefined && !isConfirmed(job)) {
      const answer = await pollUntil(
        async () => {
          const now = await this.reader.find(taken.id ?? '');
          return now === undefined || isConfirmed(now) ? { now } : undefined;
        },
        { everyMs: LOOK_EVERY_MS, timeoutMs: CONFIRMED_WITHIN_MS },
      );
      if (answer === undefined)
        throw new Failure(
          'NOT_CONFIRMED',
          'permanent',
          'Nothing was done: the queue became unavailable before the API could confirm this job.',
          { hint: 'Start the job again.' },
        );
      job = answer.now;
    }
    // Forged notes must not be followed. Without notes, the work of earlier attempts would be repeated.
    if (job === undefined || (isNoted && typeof job.progress !== 'object')) throw notAuthentic();
    return job;
  }

  /** Whether somebody has terminated a job. @throws QueueUnavailable */
  async isTerminated(id: string): Promise<boolean> {
    return (await this.reader.find(id))?.data.terminatedOn !== undefined;
  }

  /** Opens the journal of an attempt. */
  journal(job: DaemonJob, options: Omit<JobJournalOptions, 'keys' | 'reload'>): JobJournal {
    const { keys } = this.reader;
    return new JobJournal(job, { ...options, keys, reload: () => this.reader.find(job.id ?? '') });
  }

  /** Signs the result of a job. */
  signed(job: DaemonJob, result: DaemonResult): DaemonJobResult {
    return signedResult(this.reader.keys, job, result);
  }
}
