import {
  type BeforeApplicationShutdown,
  ConflictException,
  Inject,
  Injectable,
  type OnApplicationBootstrap,
} from '@nestjs/common';
import { InjectRepository } from '@nestjs/typeorm';
import { setTimeout as sleep } from 'node:timers/promises';
import { Repository } from 'typeorm';
import { errorSentence } from '#common';
import { databaseNow, Schedule } from '#database';
import { LOGGER, type Logger } from '#logging';
import { QueueUnavailable, ScheduleQueue } from '#queue';
import { nextTime } from './cron.js';
import { ScheduleRuns } from './schedule-runs.js';
import { Schedules } from './schedules.js';

/** How soon the queue's clock is correct again, after the queue has lost its data or missed a change. */
const SET_EVERY_MS = 15_000;
/** If the clock of an API is ahead by more, it does not wait: a later check begins the run. */
const FAST_BY_MS = 2_000;

/**
 * Keeps the queue's clock in step with the table of schedules. Any number of APIs do this: the queue gives each step to
 * one of them, and the table lets each run begin once. BullMQ uses the clocks of the APIs, which may be wrong, so it only
 * says when to check. The database's clock decides which runs are due, and is checked every SET_EVERY_MS as well.
 */
@Injectable()
export class ScheduleClock implements OnApplicationBootstrap, BeforeApplicationShutdown {
  private readonly stopping = new AbortController();
  private timer: NodeJS.Timeout | undefined;
  private setting: Promise<void> | undefined;

  constructor(
    @InjectRepository(Schedule) private readonly schedules: Repository<Schedule>,
    private readonly settings: Schedules,
    private readonly runs: ScheduleRuns,
    private readonly queue: ScheduleQueue,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  onApplicationBootstrap(): void {
    this.queue.work({
      due: (schedule) => this.due(schedule),
      advance: (run) => this.runs.advance(run, this.stopping.signal),
    });
    const set = () => {
      this.setting ??= this.set().finally(() => (this.setting = undefined));
    };
    set();
    this.timer = setInterval(set, SET_EVERY_MS);
  }

  async beforeApplicationShutdown(): Promise<void> {
    clearInterval(this.timer);
    this.stopping.abort(new Error('The API was told to stop.'));
    await this.queue.close();
  }

  /**
   * Begins a run of a schedule now, though it is not due.
   * @throws NotFoundException, ConflictException if the last run has not ended
   */
  async runNow(name: string): Promise<void> {
    const schedule = await this.settings.find(name);
    if (!(await this.runs.beginNow(schedule)))
      throw new ConflictException('The last run of this schedule has not ended.');
    try {
      await this.drive(name);
    } catch (error) {
      if (!(error instanceof QueueUnavailable)) throw error;
      this.logger.warn(
        { schedule: name, reason: errorSentence(error) },
        'The queue is down: the run waits for it',
      );
    }
  }

  private async set(): Promise<void> {
    try {
      const schedules = await this.schedules.findBy({ enabled: true });
      // Runs that were due while no API ran, or while the queue's clock was lost or wrong.
      for (const { name } of schedules) await this.runs.begin(name);
      await this.drive();
      const names = new Set(schedules.map(({ name }) => name));
      for (const name of await this.queue.armed()) if (!names.has(name)) await this.queue.disarm(name);
      const now = await databaseNow(this.schedules);
      for (const schedule of schedules) await this.queue.arm(schedule, nextTime(schedule, now));
    } catch (error) {
      this.logger.warn(
        { reason: errorSentence(error) },
        'Cannot set the clock of the schedules at the moment',
      );
    }
  }

  /** Begins a run. If the clock of the API is slightly ahead, waits until the run is due. */
  private async due(name: string): Promise<void> {
    const early = await this.begin(name);
    if (early === undefined || early > FAST_BY_MS) return;
    await sleep(early, undefined, { signal: this.stopping.signal, ref: false });
    await this.begin(name);
  }

  /** @returns the milliseconds until the next run; undefined if a run has begun or none will */
  private async begin(name: string): Promise<number | undefined> {
    const early = await this.runs.begin(name);
    await this.drive(name);
    return early;
  }

  private async drive(name?: string): Promise<void> {
    for (const run of await this.runs.unfinished(name)) await this.queue.drive(run, run.stuckSince);
  }
}
