import { DelayedError, type Job, Queue, type RepeatOptions, Worker } from 'bullmq';
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import type { Secret } from '#config';
import { errorSentence } from '#common';
import type { Logger } from '#logging';
import { queueConnection } from './connection.js';
import { answered } from './queue-unavailable.js';

/** The queue of what the clock starts. */
export const SCHEDULE_QUEUE = 'schedules';

/** One run of a schedule. */
export interface ScheduledRun {
  schedule: string;
  /** Names the run: milliseconds since 1970. */
  dueOn: number;
}

/** When a schedule's times are. */
export interface ScheduleTimes {
  name: string;
  /** Cron, of five or six fields. */
  pattern: string;
  timeZone: string;
}

/** What is done when the queue says so, in whichever process takes it. */
export interface ScheduleWork {
  /** A schedule's time has come, by the clock of one of the APIs. */
  due(schedule: string): Promise<void>;
  /**
   * Takes a run as far as it goes now. May be called again for what it has done already, when a process died.
   * @returns after how many milliseconds to call it again; undefined when the run has ended
   */
  advance(run: ScheduledRun): Promise<number | undefined>;
}

/** Everybody who may write to the queue can ask too early. Whether a run is due, and which one goes on, is in the table. */
const scheduleJobData = z.strictObject({
  schedule: z.string(),
  /** What a Date can hold. Missing where it is to be seen whether one is due. */
  dueOn: z.int().min(0).max(8.64e15).exactOptional(),
});
type ScheduleJobData = z.infer<typeof scheduleJobData>;

type ScheduleJobQueue = Queue<ScheduleJobData, void>;
type ScheduleWorker = Worker<ScheduleJobData, void>;
type Processing = (job: Job<ScheduleJobData, void>, token?: string) => Promise<void>;

/** A killed process's runs are taken over after about the sum of the first two, however often that happens. */
const TAKEOVER = { lockDuration: 15_000, stalledInterval: 5_000, maxStalledCount: 2 ** 31 - 1 };

/** Runs are advanced in short steps and wait in the queue in between: this many steps at once are plenty. */
const STEPS_AT_ONCE = 8;
const STEP_FAILED_PAUSE_MS = 5_000;

/** What the dashboard shows of what is over. */
const KEPT = { count: 100 };

const CLOSED_WITHIN_MS = 2_000;

/** BullMQ's clock and the steps of the runs that it starts: once each, however many processes work on them. */
export class ScheduleQueue {
  private worker: ScheduleWorker | undefined;

  private constructor(
    readonly queue: ScheduleJobQueue,
    private readonly openWorker: (process: Processing) => ScheduleWorker,
    private readonly logger: Logger,
  ) {}

  /**
   * Waits until the queue answers.
   * @param nextTime the first time of a schedule after another one
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

  /** Takes part in the work from now on. */
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
   * @param next its next time: a clock that waits for a later one was set by an API whose own is wrong
   * @throws QueueUnavailable
   */
  async arm({ name, pattern, timeZone }: ScheduleTimes, next: number): Promise<void> {
    const known = await answered(this.queue.getJobScheduler(name));
    const isRight = known?.pattern === pattern && known.tz === timeZone && (known.next ?? Infinity) <= next;
    // Setting it anew takes away the job of the next time, which may be due just now.
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
   * Has a run advanced until it has ended, unless that is so already.
   * @param stuckSince when its last step was taken, if that is too long ago. An API with a wrong clock can leave a job
   * that waits for a far time, or is locked until then. Another job then takes the run on; the old one, when its time
   * comes, finds that the run has ended.
   * @throws QueueUnavailable
   */
  async drive({ schedule, dueOn }: ScheduledRun, stuckSince?: number): Promise<void> {
    // A job whose id is there already is not added again.
    const jobId = [schedule, dueOn, ...(stuckSince === undefined ? [] : [stuckSince])].join('-');
    const options = { jobId, removeOnComplete: KEPT, removeOnFail: true };
    await answered(this.queue.add('run', { schedule, dueOn }, options));
  }

  /** Lets the steps that are being done come to their end, but not for long: others take them over. */
  async close(): Promise<void> {
    const late = sleep(CLOSED_WITHIN_MS, undefined, { ref: false });
    await Promise.race([this.worker?.close(), late]);
    await Promise.race([this.queue.close(), late]);
  }

  private async hasJob(name: string, next: number | undefined): Promise<boolean> {
    return (await answered(this.queue.getJob(`repeat:${name}:${next}`))) !== undefined;
  }

  /** Nothing that fails on the way ends a run: what can be over is tried again. */
  private async advance(work: ScheduleWork, run: ScheduledRun): Promise<number | undefined> {
    try {
      return await work.advance(run);
    } catch (error) {
      this.logger.warn({ schedule: run.schedule, reason: errorSentence(error) }, 'A run waits');
      return STEP_FAILED_PAUSE_MS;
    }
  }
}
