import {
  type BeforeApplicationShutdown,
  Inject,
  Injectable,
  type OnApplicationBootstrap,
} from '@nestjs/common';
import { InjectRepository } from '@nestjs/typeorm';
import { Repository } from 'typeorm';
import { errorSentence } from '#contracts';
import { Schedule } from '#database';
import { LOGGER, type Logger } from '#logging';
import { ScheduleQueue } from '#queue';
import { ScheduleRuns } from './schedule-runs.js';

/** A queue that has lost its data, or was away when a schedule changed, has its clock back after so long. */
const SET_EVERY_MS = 15_000;

/**
 * Holds the queue's clock to the table of schedules, and does what it says. Any number of APIs do this at once: the
 * queue gives each step to one of them, and the table lets a run begin once.
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
      due: (schedule, time) => this.begin(schedule, time),
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
      const names = new Set(schedules.map(({ name }) => name));
      for (const name of await this.queue.armed()) if (!names.has(name)) await this.queue.disarm(name);
      for (const schedule of schedules) {
        await this.queue.arm(schedule);
        // What was due while nobody was there to see it, or while the queue had lost its clock.
        await this.begin(schedule.name);
      }
      for (const run of await this.runs.unfinished()) await this.queue.drive(run);
    } catch (error) {
      this.logger.warn({ reason: errorSentence(error) }, 'The clock of the schedules cannot be set just now');
    }
  }

  private async begin(name: string, time = Date.now()): Promise<void> {
    await this.runs.begin(name, time);
    for (const run of await this.runs.unfinished(name)) await this.queue.drive(run);
  }
}
