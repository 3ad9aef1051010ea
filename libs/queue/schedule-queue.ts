import { DelayedError, type Job, Queue, type RepeatOptions, Worker } from 'bullmq';
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import type { Secret } from '#config';
import { errorSentence } from '#common';
import type { Logger } from '#logging';
import { queueConnection, TAKEOVER } from './connection.js';
import { answered } from './queue-unavailable.js';

/** The queue of the schedules' clock and of their runs. */
export const SCHEDULE_QUEUE = 'schedules';

/** One run of a schedule. */
export interface ScheduledRun {
  schedule: string;
  /** Names the run: milliseconds since 1970. */
  dueOn: number;
}

/** The times of a schedule. */
export interface ScheduleTimes {
  name: string;
  /** Cron, of five or six fields. */
  pattern: string;
  timeZone: string;
}

/** The work of a schedule, in any of the APIs. */
export interface ScheduleWork {
  /** A schedule's time has come, by the clock of one of the APIs. */
  due(schedule: string): Promise<void>;
  /**
   * Advances a run as far as possible now. After the death of a process, it may be called for steps already done.
   * @returns the milliseconds until the next call; undefined if the run has ended
   */
  advance(run: ScheduledRun): Promise<number | undefined>;
}

/** Everybody who may write to the queue can add a job too early. The table decides whether a run is due, and which. */
const scheduleJobData = z.strictObject({
  schedule: z.string(),
  /** In the range of a Date. Missing in a job that asks whether a run is due. */
  dueOn: z.int().min(0).max(8.64e15).exactOptional(),
});
type ScheduleJobData = z.infer<typeof scheduleJobData>;

type ScheduleJobQueue = Queue<ScheduleJobData, void>;
type ScheduleWorker = Worker<ScheduleJobData, void>;
type Processing = (job: Job<ScheduleJobData, void>, token?: string) => Promise<void>;

/** Steps are short, and runs wait in the queue between them. */
const STEPS_AT_ONCE = 8;
const STEP_FAILED_PAUSE_MS = 5_000;

/** Ended jobs that the dashboard shows. */
const KEPT = { count: 100 };

const CLOSED_WITHIN_MS = 2_000;

/** BullMQ's clock and the steps of the runs that it starts. Each step is done once, with any number of APIs. */
export class ScheduleQueue {
  private worker: ScheduleWorker | undefined;

  private constructor(
    readonly queue: ScheduleJobQueue,
    private readonly openWorker: (process: Processing) => ScheduleWorker,
    private readonly logger: Logger,
  ) {}

  /**
   * Waits until the queue answers.
   * @param nextTime gives the first time of a schedule after a time
   */
  static async open(
    url: Secret,
    nextTime: (times: Pick<ScheduleTimes, 'pattern' | 'timeZone'>, after: number) => number,
    logger: Logger,
  ): Promise<ScheduleQueue> {
    const settings = {
      repeatStrategy: (after: number, { pattern = '', tz = '' }: RepeatOptions) =>
        nextTime({ pattern, timeZone: tz }, after),
    };
    const asking = { ...(await queueConnection(url, 'producer', logger)), settings };
    const working = { ...(await queueConnection(url, 'worker', logger)), settings };
    const warn = (error: Error) => logger.warn({ reason: error.message }, 'The queue has an error');
    const queue: ScheduleJobQueue = new Queue(SCHEDULE_QUEUE, asking);
    queue.on('error', warn);
    await queue.waitUntilReady();
    return new ScheduleQueue(
      queue,
      (process) => {
        const options = { ...working, ...TAKEOVER, concurrency: STEPS_AT_ONCE };
        const worker: ScheduleWorker = new Worker(SCHEDULE_QUEUE, process, options);
        worker.on('error', warn);
        worker.on('failed', (job, error) =>
          logger.error({ err: error, job: job?.id }, 'A job of the schedules failed'),
        );
        return worker;
      },
      logger,
    );
  }

  /** Starts working on due schedules and runs. */
  work(work: ScheduleWork): void {
    this.worker = this.openWorker(async (job, token) => {
      const { schedule, dueOn } = scheduleJobData.parse(job.data);
      if (dueOn === undefined) return work.due(schedule);
      const pause = await this.advance(work, { schedule, dueOn });
      if (pause === undefined) return;
      await job.moveToDelayed(Date.now() + pause, token);
      throw new DelayedError();
    });
  }

  /**
   * Sets the clock for a schedule, unless it is set.
   * @param next its next time: a clock that waits for a later time was set by an API with a wrong clock
   * @throws QueueUnavailable
   */
  async arm({ name, pattern, timeZone }: ScheduleTimes, next: number): Promise<void> {
    const known = await answered(this.queue.getJobScheduler(name));
    const isRight = known?.pattern === pattern && known.tz === timeZone && (known.next ?? Infinity) <= next;
    // Setting it again removes the job of the next time, which may be due just now.
    if (isRight && (await this.hasJob(name, known.next))) return;
    await answered(
      this.queue.upsertJobScheduler(
        name,
        { pattern, tz: timeZone },
        { name: 'due', data: { schedule: name }, opts: { removeOnComplete: KEPT, removeOnFail: KEPT } },
      ),
    );
  }

  /** @throws QueueUnavailable */
  async disarm(name: string): Promise<void> {
    await answered(this.queue.removeJobScheduler(name));
  }

  /** The names of the schedules that the clock is set for. @throws QueueUnavailable */
  async armed(): Promise<string[]> {
    return (await answered(this.queue.getJobSchedulers())).map(({ key }) => key);
  }

  /**
   * Has a run advanced until it has ended, unless a job does that already.
   * @param stuckSince when its last step was taken, if that is too long ago. An API with a wrong clock can leave a job
   * that waits for a distant time, or is locked until then. Another job then continues the run; the old job later finds
   * that the run has ended.
   * @throws QueueUnavailable
   */
  async drive({ schedule, dueOn }: ScheduledRun, stuckSince?: number): Promise<void> {
    // BullMQ does not add a second job with an id.
    const jobId = [schedule, dueOn, ...(stuckSince === undefined ? [] : [stuckSince])].join('-');
    const options = { jobId, removeOnComplete: KEPT, removeOnFail: true };
    await answered(this.queue.add('run', { schedule, dueOn }, options));
  }

  /** Waits at most two seconds for running steps. Other APIs take the rest over. */
  async close(): Promise<void> {
    const late = sleep(CLOSED_WITHIN_MS, undefined, { ref: false });
    await Promise.race([this.worker?.close(), late]);
    await Promise.race([this.queue.close(), late]);
  }

  private async hasJob(name: string, next: number | undefined): Promise<boolean> {
    return (await answered(this.queue.getJob(`repeat:${name}:${next}`))) !== undefined;
  }

  /** Advances a run. A failed step does not end the run: it is retried after a pause. */
  private async advance(work: ScheduleWork, run: ScheduledRun): Promise<number | undefined> {
    try {
      return await work.advance(run);
    } catch (error) {
      this.logger.warn({ schedule: run.schedule, reason: errorSentence(error) }, 'A run of a schedule waits');
      return STEP_FAILED_PAUSE_MS;
    }
  }
}
