import { BadRequestException, Inject, Injectable, NotFoundException } from '@nestjs/common';
import { InjectRepository } from '@nestjs/typeorm';
import { Repository } from 'typeorm';
import { afterBackupOf, errorSentence } from '#common';
import {
  type AfterBackupWord,
  DEFAULT_REPOSITORY,
  type ScheduleRequest,
  type ScheduleView,
} from '#contracts';
import { databaseNow, Schedule, ScheduleArchive, ScheduleRun } from '#database';
import { LOGGER, type Logger } from '#logging';
import { ScheduleQueue } from '#queue';
import { nextTime } from './cron.js';
import { Repositories } from '../repositories/repositories.js';
import { LostRows } from './lost-rows.js';

/** The name is part of URLs, in which one or two dots alone have another meaning. */
const NAME = /^(?!\.{1,2}$)[A-Za-z0-9._-]{1,64}$/;

/** The settings of schedules. The table is the source of truth for the queue's clock. */
@Injectable()
export class Schedules {
  constructor(
    @InjectRepository(Schedule) private readonly schedules: Repository<Schedule>,
    @InjectRepository(ScheduleRun) private readonly runs: Repository<ScheduleRun>,
    @InjectRepository(ScheduleArchive) private readonly archives: Repository<ScheduleArchive>,
    private readonly queue: ScheduleQueue,
    private readonly lostRows: LostRows,
    private readonly repositories: Repositories,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  /**
   * Creates a schedule, or changes the one of this name. Times of the pattern before now, and times while it is disabled,
   * have no run.
   * @returns whether it is new
   * @throws BadRequestException if the name is invalid, or if there is no such repository
   */
  async put(name: string, request: ScheduleRequest, account: string): Promise<boolean> {
    if (!NAME.test(name))
      throw new BadRequestException(
        'The name must have 1 to 64 letters, digits, dots, hyphens or underscores.',
      );
    const { pattern, timeZone, then, repository, retention, enabled } = request;
    if (repository !== undefined) await this.repositories.forJob(repository);
    const recover = typeof then === 'object' ? then : null;
    if (recover !== null) await this.expectRecoverable(name, recover.recoverInto, repository);
    const [row] = await this.schedules.query<{ created: boolean }[]>(
      `INSERT INTO snapshotd.schedule AS was
              (name, pattern, time_zone, after_backup, retention, enabled, created_by, settled_on, repository, recover)
       VALUES ($1, $2, $3, coalesce($4, 'READ'), $5, $6, $7, now(), coalesce($8, 'default'), $9)
       ON CONFLICT (name) DO UPDATE
          SET pattern = excluded.pattern, time_zone = excluded.time_zone,
              after_backup = coalesce($4, was.after_backup), retention = excluded.retention, enabled = excluded.enabled,
              repository = coalesce($8, was.repository), recover = CASE WHEN $4 IS NULL THEN was.recover ELSE $9 END,
              settled_on = CASE
                WHEN (was.pattern, was.time_zone, was.enabled) = (excluded.pattern, excluded.time_zone, true)
                THEN was.settled_on ELSE excluded.settled_on END
       RETURNING xmax = 0 AS created`,
      [
        name,
        pattern,
        timeZone,
        recover !== null ? 'nothing' : then && afterBackupOf(then as AfterBackupWord),
        retention && JSON.stringify(retention),
        enabled,
        account,
        repository,
        recover && JSON.stringify(recover),
      ],
    );
    const next = nextTime(request, await databaseNow(this.schedules));
    await this.setClock(name, () =>
      enabled ? this.queue.arm({ name, pattern, timeZone }, next) : this.queue.disarm(name),
    );
    return row?.created === true;
  }

  /** Confirms that its archives have lost rows on purpose, so that it deletes archives again. @throws NotFoundException */
  async confirm(name: string): Promise<void> {
    await this.find(name);
    await this.lostRows.confirm(name);
  }

  /** Deletes a schedule. Its archives stay, and no schedule prunes them. @throws NotFoundException */
  async remove(name: string): Promise<void> {
    expectPossible(name);
    const { affected } = await this.schedules.delete({ name });
    if (affected !== 1) throw noSuchSchedule();
    await this.setClock(name, () => this.queue.disarm(name));
  }

  /** @throws NotFoundException */
  async find(name: string): Promise<Schedule> {
    expectPossible(name);
    const schedule = await this.schedules.findOneBy({ name });
    if (schedule === null) throw noSuchSchedule();
    return schedule;
  }

  /** @throws NotFoundException */
  async view(name: string): Promise<ScheduleView> {
    expectPossible(name);
    const [schedule] = await this.views({ name });
    if (schedule === undefined) throw noSuchSchedule();
    return schedule;
  }

  /** All schedules, ordered by name, or those of this name or this repository. */
  async views({ name, repository }: { name?: string; repository?: string | undefined } = {}): Promise<
    ScheduleView[]
  > {
    const schedules = await this.schedules.find({
      where: { ...(name !== undefined && { name }), ...(repository !== undefined && { repository }) },
      order: { name: 'ASC' },
    });
    const runs = new Map((await this.runs.find()).map((run) => [run.schedule, run]));
    // Times in the future came from a wrong clock and do not count.
    const dates = await this.archives.query<LastTimes[]>(
      `SELECT schedule, max(completed_on) FILTER (WHERE completed_on <= now()) AS completed,
              max(verified_on) FILTER (WHERE verified_on <= now()) AS verified
         FROM snapshotd.schedule_archive GROUP BY schedule`,
    );
    const lasts = new Map(dates.map((row) => [row.schedule, row]));
    const lostRows = await this.lostRows.unconfirmed();
    const now = await databaseNow(this.schedules);
    return schedules.map((schedule) => ({
      ...viewOf(schedule, now, runs.get(schedule.name), lasts.get(schedule.name)),
      lostRowsSince: lostRows.get(schedule.name)?.getTime() ?? null,
    }));
  }

  /** Refuses a step that would replace the database that the schedule backs up, or the default one. */
  private async expectRecoverable(name: string, into: string, given: string | undefined): Promise<void> {
    const known = await this.schedules.findOneBy({ name });
    const repository = given ?? known?.repository ?? DEFAULT_REPOSITORY;
    if (into === repository || into === DEFAULT_REPOSITORY)
      throw new BadRequestException(
        'then: a schedule may replace neither the database that it backs up nor that of the repository default.',
      );
    await this.repositories.forJob(into, 'then');
  }

  /** Sets the queue's clock. If the queue is down, ScheduleClock sets it later, and the change succeeds. */
  private async setClock(name: string, set: () => Promise<void>): Promise<void> {
    try {
      await set();
    } catch (error) {
      this.logger.warn(
        { schedule: name, reason: errorSentence(error) },
        'The queue is down: its clock will be set later',
      );
    }
  }
}

/** The times of a schedule's last completed and verified archives. */
interface LastTimes {
  schedule: string;
  completed: Date | null;
  verified: Date | null;
}

function viewOf(
  schedule: Schedule,
  now: number,
  run: ScheduleRun | undefined,
  last: LastTimes | undefined,
): Omit<ScheduleView, 'lostRowsSince'> {
  const {
    name,
    repository,
    pattern,
    timeZone,
    afterBackup,
    recover,
    retention,
    enabled,
    createdBy,
    createdOn,
  } = schedule;
  return {
    name,
    repository,
    pattern,
    timeZone,
    then: recover ?? afterBackup,
    retention,
    enabled,
    createdBy,
    createdOn: createdOn.getTime(),
    nextRunOn: enabled ? nextTime(schedule, now) : null,
    lastRun:
      run === undefined
        ? null
        : {
            startedOn: run.startedOn.getTime(),
            daemonId: run.backupDaemon,
            status: run.status,
            errorMessage: [run.errorMessage, skippedSentence(run)].filter(Boolean).join(' ') || null,
          },
    lastCompletedOn: last?.completed?.getTime() ?? null,
    lastVerifiedOn: last?.verified?.getTime() ?? null,
  };
}

function skippedSentence({ skipped }: ScheduleRun): string {
  if (skipped === 0) return '';
  return skipped === 1
    ? 'A run that was due meanwhile was skipped.'
    : `${skipped} runs that were due meanwhile were skipped.`;
}

/** Rejects names that no schedule can have: PostgreSQL fails at some texts. @throws NotFoundException */
function expectPossible(name: string): void {
  if (!NAME.test(name)) throw noSuchSchedule();
}

function noSuchSchedule(): NotFoundException {
  return new NotFoundException('There is no schedule of this name.');
}
