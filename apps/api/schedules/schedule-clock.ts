import {
  type BeforeApplicationShutdown,
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
import { ScheduleQueue } from '#queue';
import { nextTime } from './cron.js';
import { ScheduleRuns } from './schedule-runs.js';

/** A queue that has lost its data, or was away when a schedule changed, has its clock back after so long. */
const SET_EVERY_MS = 15_000;
/** If the clock of an API is faster than this, nobody waits: the next look begins the run. */
const FAST_BY_MS = 2_000;

/**
 * Holds the queue's clock to the table of schedules. Any number of APIs do this at once: the queue gives each step to
 * one of them, and the table lets a run begin once. BullMQ goes by the APIs' clocks, of which one may be wrong: it only
 * says when to look. What is due is decided by the database's clock, and looked for every SET_EVERY_MS as well.
 */
@Injectable()
export class ScheduleClock implements OnApplicationBootstrap, BeforeApplicationShutdown {
  private readonly stopping = new AbortController();
  private timer: NodeJS.Timeout | undefined;
  private setting: Promise<void> | undefined;

  constructor(
    @InjectRepository(Schedule) private readonly schedules: Repository<Schedule>,
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

  private async set(): Promise<void> {
    try {
      const schedules = await this.schedules.findBy({ enabled: true });
      // What was due while nobody was there to see it, or while the queue's clock was lost or wrong.
      for (const { name } of schedules) await this.runs.begin(name);
      for (const run of await this.runs.unfinished()) await this.queue.drive(run, run.stuckSince);
      const names = new Set(schedules.map(({ name }) => name));
      for (const name of await this.queue.armed()) if (!names.has(name)) await this.queue.disarm(name);
      const now = await databaseNow(this.schedules);
      for (const schedule of schedules) await this.queue.arm(schedule, nextTime(schedule, now));
    } catch (error) {
      this.logger.warn({ reason: errorSentence(error) }, 'The clock of the schedules cannot be set just now');
    }
  }

  /** Begins a run. If the clock of an API is a little fast, the time has not come yet: this waits for it. */
  private async due(name: string): Promise<void> {
    const early = await this.begin(name);
    if (early === undefined || early > FAST_BY_MS) return;
    await sleep(early, undefined, { signal: this.stopping.signal, ref: false });
    await this.begin(name);
  }

  /** @returns in how many milliseconds the next time comes; undefined when a run has begun, or none will */
  private async begin(name: string): Promise<number | undefined> {
    const early = await this.runs.begin(name);
    for (const run of await this.runs.unfinished(name)) await this.queue.drive(run, run.stuckSince);
    return early;
  }
}
