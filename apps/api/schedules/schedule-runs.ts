import { Inject, Injectable } from '@nestjs/common';
import { InjectRepository } from '@nestjs/typeorm';
import { Repository } from 'typeorm';
import type { Settings } from '#config';
import { type DaemonStatus, type DaemonType, errorSentence, Failure } from '#contracts';
import { Schedule, ScheduleArchive, ScheduleRun } from '#database';
import { LOGGER, type Logger } from '#logging';
import { type ArchiveRequest, DaemonQueue, type ScheduledRun } from '#queue';
import { archiveKey } from '#storage';
import { Notifications } from '../notifications/notifications.js';
import { SETTINGS } from '../settings.js';
import { nextTime } from './cron.js';
import { Pruning } from './pruning.js';
import { ScheduleAudit } from './schedule-audit.js';

/** How often a run looks at its daemon. */
const LOOK_EVERY_MS = 1_000;

/** The runs of schedules: backup, verification, pruning. */
@Injectable()
export class ScheduleRuns {
  constructor(
    @InjectRepository(Schedule) private readonly schedules: Repository<Schedule>,
    @InjectRepository(ScheduleRun) private readonly runs: Repository<ScheduleRun>,
    @InjectRepository(ScheduleArchive) private readonly archives: Repository<ScheduleArchive>,
    private readonly daemons: DaemonQueue,
    private readonly pruning: Pruning,
    private readonly audit: ScheduleAudit,
    private readonly notifications: Notifications,
    @Inject(SETTINGS) private readonly settings: Settings,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  /**
   * Begins the run of a schedule if one of its times has come since the last one: one run, however many of its times
   * have passed, and whoever asks at the same moment. While the last run goes on there is none, and that is said.
   * @param time a time that has come by the clock of the queue, should this machine's be slow; milliseconds since 1970
   */
  async begin(name: string, time: number): Promise<void> {
    const schedule = await this.schedules.findOneBy({ name });
    if (schedule === null || !schedule.enabled) return;
    const now = Math.max(time, Date.now());
    if (nextTime(schedule, schedule.settledOn.getTime()) > now) return;
    await this.schedules.manager.transaction(async (manager) => {
      const settled = { name, settledOn: schedule.settledOn };
      const { affected } = await manager.update(Schedule, settled, { settledOn: new Date(now) });
      if (affected !== 1) return; // Another process was faster.
      const began = await manager.query<unknown[]>(
        `INSERT INTO snapshotd.schedule_run AS last (schedule, due_on, started_on, after_backup, status)
         VALUES ($1, $2, now(), $3, 'IN_PROGRESS')
         ON CONFLICT (schedule) DO UPDATE
            SET due_on = excluded.due_on, started_on = excluded.started_on, after_backup = excluded.after_backup,
                status = excluded.status, backup_daemon = NULL, archive = NULL, verify_daemon = NULL, skipped = 0,
                error_message = NULL
          WHERE last.status <> 'IN_PROGRESS'
         RETURNING schedule`,
        [name, new Date(now), schedule.afterBackup],
      );
      if (began.length === 1) return;
      await manager.increment(ScheduleRun, { schedule: name }, 'skipped', 1);
      this.logger.warn({ schedule: name }, 'A run that is due is skipped: the last one still goes on');
    });
  }

  /** The runs that have not ended. */
  async unfinished(name?: string): Promise<ScheduledRun[]> {
    const where = { status: 'IN_PROGRESS' as const, ...(name !== undefined && { schedule: name }) };
    const runs = await this.runs.findBy(where);
    return runs.map(({ schedule, dueOn }) => ({ schedule, dueOn: dueOn.getTime() }));
  }

  /**
   * Takes a run as far as it goes now. Each step is on record, or is found again, before the next one is taken: the
   * process may die anywhere, and the next one to come here does nothing twice.
   * @returns after how many milliseconds to come again; undefined when the run has ended
   */
  async advance({ schedule: name, dueOn }: ScheduledRun, signal: AbortSignal): Promise<number | undefined> {
    const run = await this.runs.findOneBy({ schedule: name, dueOn: new Date(dueOn), status: 'IN_PROGRESS' });
    const schedule = await this.schedules.findOneBy({ name });
    if (run === null || schedule === null) return undefined;
    try {
      return await this.nextStep(run, schedule, signal);
    } catch (error) {
      if (!(error instanceof Failure) || error.persistence === 'transient') throw error;
      // A run that never ended would keep all others from beginning.
      return this.end(run, 'FAILED', errorSentence(error));
    }
  }

  /** @throws what may pass, so that the step is to be taken again */
  private async nextStep(
    run: ScheduleRun,
    schedule: Schedule,
    signal: AbortSignal,
  ): Promise<number | undefined> {
    if (run.archive === null) {
      const backup = await this.daemonOf(run, 'BACKUP');
      if (backup === undefined) return this.end(run, 'FAILED', forgotten('backup', run.backupDaemon));
      if (isUnderWay(backup)) return LOOK_EVERY_MS;
      if (backup.status === 'FAILED')
        return this.end(run, 'FAILED', `The backup failed: ${backup.errorMessage}`);
      run.archive = await this.record(run, backup);
    }
    const archive = { url: run.archive, key: archiveKey(run.archive, this.settings.store) };

    if (run.afterBackup !== 'nothing') {
      const restoreDrill = run.afterBackup === 'restoreDrill';
      const verification = await this.daemonOf(run, 'VERIFY', { ...archive, restoreDrill });
      if (verification === undefined)
        return this.end(run, 'FAILED', forgotten('verification', run.verifyDaemon));
      if (isUnderWay(verification)) return LOOK_EVERY_MS;
      if (verification.status === 'FAILED')
        return this.end(run, 'FAILED', `The verification failed: ${verification.errorMessage}`);
      const verifiedBy = restoreDrill ? 'RESTORE_DRILL' : 'READ';
      await this.archives.update({ url: archive.url }, { verifiedOn: endOf(verification), verifiedBy });
    }

    // Before old archives are deleted: whatever becomes of that, there is a new one.
    await this.notifications.runSucceeded({ schedule: run.schedule, dueOn: run.dueOn.getTime() });
    return this.end(run, 'COMPLETED', await this.pruning.prune(schedule, signal));
  }

  /**
   * One of a run's daemons, which is started when that has not been done.
   * @returns undefined when the queue does not know it any more
   */
  private async daemonOf(
    run: ScheduleRun,
    type: DaemonType,
    archive?: ArchiveRequest,
  ): Promise<DaemonStatus | undefined> {
    const { schedule, dueOn } = run;
    const column = type === 'BACKUP' ? 'backupDaemon' : 'verifyDaemon';
    const mark = `${type} of schedule ${schedule} at ${dueOn.toISOString()}`;
    const known = run[column];
    if (known !== null) return this.daemons.statusOfMarked(known, mark);
    const action = type === 'BACKUP' ? 'backup.start' : 'verify.start';
    const status = await this.audit.recorded({ schedule, action, subject: archive?.url }, () =>
      this.daemons.startMarked(mark, type, `schedule ${schedule}`, archive),
    );
    await this.runs.update({ schedule, dueOn }, { [column]: status.id });
    this.logger.info({ schedule, daemon: status.id, type }, 'Started by a schedule');
    return status;
  }

  /** @returns the archive's URL */
  private async record({ schedule, dueOn }: ScheduleRun, backup: DaemonStatus): Promise<string> {
    const { id, backupUrl: url, startedOn } = backup;
    if (url === null) throw new Error(`The backup ${id} has completed without an archive`);
    const key = archiveKey(url, this.settings.store);
    const times = { createdOn: new Date(startedOn), completedOn: endOf(backup) };
    const row = { url, key, schedule, daemon: id, ...times };
    await this.archives.createQueryBuilder().insert().values(row).orIgnore().execute();
    await this.runs.update({ schedule, dueOn }, { archive: url });
    return url;
  }

  private async end(run: ScheduleRun, status: 'COMPLETED' | 'FAILED', message?: string): Promise<undefined> {
    const { schedule, dueOn } = run;
    await this.runs.update(
      { schedule, dueOn, status: 'IN_PROGRESS' },
      { status, errorMessage: message ?? null },
    );
    const level = status === 'FAILED' ? 'error' : message === undefined ? 'info' : 'warn';
    this.logger[level]({ schedule, status, reason: message }, 'A run has ended');
  }
}

function isUnderWay({ status }: DaemonStatus): boolean {
  return status === 'STARTED' || status === 'IN_PROGRESS';
}

function endOf({ startedOn, totalTimeMS }: DaemonStatus): Date {
  return new Date(startedOn + totalTimeMS);
}

function forgotten(what: string, id: string | null): string {
  return `The queue does not know the ${what}, daemon ${id}, any more. Look whether the queue has lost its data.`;
}
