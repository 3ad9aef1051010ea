import type { Job, JobsOptions } from 'bullmq';
import type { DaemonStatus, DaemonType } from '#contracts';
import type { Logger } from '#logging';
import type { DaemonJob, DaemonJobData, DaemonJobQueue } from './daemon-job.js';
import { daemonStatus } from './daemon-status.js';

const DAY_SECONDS = 24 * 60 * 60;
const KEPT = { count: 1_000, age: 90 * DAY_SECONDS };

const JOB_OPTIONS: JobsOptions = {
  // Transient errors only: what is permanent fails at once.
  attempts: 3,
  backoff: { type: 'exponential', delay: 2_000 },
  removeOnComplete: KEPT,
  removeOnFail: KEPT,
  stackTraceLimit: 3,
};

/** The queue did not answer. What was asked for was not done. */
export class QueueUnavailable extends Error {
  override readonly name = 'QueueUnavailable';
}

/** The API's side of the queue: starts daemons and tells how far they are. */
export class DaemonQueue {
  constructor(
    readonly queue: DaemonJobQueue,
    logger: Logger,
  ) {
    // BullMQ tells of a broken connection here; each request that meets it fails with its own error too.
    queue.on('error', (error) => logger.warn({ reason: error.message }, 'The queue has an error'));
  }

  /** @throws QueueUnavailable */
  async start(type: DaemonType, startedBy: string): Promise<DaemonStatus> {
    const data: DaemonJobData = { startedBy, startedOn: Date.now() };
    return daemonStatus(asDaemonJob(await answered(this.queue.add(type, data, JOB_OPTIONS))));
  }

  /** @returns undefined when there is no such daemon. @throws QueueUnavailable */
  async status(id: string): Promise<DaemonStatus | undefined> {
    const job = await answered(this.queue.getJob(id));
    return job === undefined ? undefined : daemonStatus(asDaemonJob(job));
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

async function answered<Result>(request: Promise<Result>): Promise<Result> {
  try {
    return await request;
  } catch (cause) {
    throw new QueueUnavailable('The queue does not answer. Nothing was started; try again in a moment.', {
      cause,
    });
  }
}
