import { BadRequestException, Inject, Injectable } from '@nestjs/common';
import { InjectRepository } from '@nestjs/typeorm';
import { type EntityManager, Repository } from 'typeorm';
import { SETTINGS, type Settings } from '#config';
import { errorSentence, Failure } from '#common';
import type { DaemonStatus } from '#contracts';
import { databaseNow, Schedule, ScheduleArchive, ScheduleRun } from '#database';
import { LOGGER, type Logger } from '#logging';
import { type ArchiveRequest, DaemonQueue, DaemonReader, KeptDatabases, type ScheduledRun } from '#queue';
import { archiveKey } from '#storage';
import { Notifications } from '../notifications/notifications.js';
import { Repositories } from '../repositories/repositories.js';
import { nextTime } from './cron.js';
import { LostRows } from './lost-rows.js';
import { Pruning } from './pruning.js';
import { ScheduleAudit } from './schedule-audit.js';

/** How often a run checks its job. */
const LOOK_EVERY_MS = 1_000;
/** How often a long step reports that it goes on. */
const NOTE_EVERY_MS = 5_000;
/** The steps of a run, as the audit names them. */
const ACTIONS = { BACKUP: 'backup.start', VERIFY: 'verify.start', RESTORE: 'restore.start' } as const;
/** A run without a reported step for this time is stuck in the queue. */
const STUCK_AFTER = `interval '20 seconds'`;

/** A run that has not ended. */
export interface UnfinishedRun extends ScheduledRun {
  /** The time of its last step, if it is stuck: milliseconds since 1970. */
  stuckSince: number | undefined;
}

/** The runs of schedules: backup, verification, pruning. */
@Injectable()
export class ScheduleRuns {
  constructor(
    @InjectRepository(Schedule) private readonly schedules: Repository<Schedule>,
    @InjectRepository(ScheduleRun) private readonly runs: Repository<ScheduleRun>,
    @InjectRepository(ScheduleArchive) private readonly archives: Repository<ScheduleArchive>,
    private readonly daemons: DaemonQueue,
    private readonly reader: DaemonReader,
    private readonly pruning: Pruning,
    private readonly lostRows: LostRows,
    private readonly repositories: Repositories,
    private readonly kept: KeptDatabases,
    private readonly audit: ScheduleAudit,
    private readonly notifications: Notifications,
    @Inject(SETTINGS) private readonly settings: Settings,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  /**
   * Begins a run of a schedule if one is due. Begins one run if several were due, and if several APIs call this at the same
   * time. While the last run goes on, the new one is skipped and counted. The database's clock decides. Times that a wrong
   * clock has settled in the future are settled up to now.
   * @returns the milliseconds until the next run; undefined if a run has begun or none will
   */
  async begin(name: string): Promise<number | undefined> {
    const schedule = await this.schedules.findOneBy({ name });
    if (schedule === null || !schedule.enabled) return undefined;
    const settled = { name, settledOn: schedule.settledOn };
    const now = await databaseNow(this.schedules);
    if (schedule.settledOn.getTime() > now) {
      await this.schedules.update(settled, { settledOn: new Date(now) });
      return nextTime(schedule, now) - now;
    }
    const next = nextTime(schedule, schedule.settledOn.getTime());
    if (next > now) return next - now;
    await this.schedules.manager.transaction(async (manager) => {
      const { affected } = await manager.update(Schedule, settled, { settledOn: new Date(now) });
      if (affected !== 1) return; // Another API was faster.
      if (await insertRun(manager, schedule, now)) return;
      await manager.increment(ScheduleRun, { schedule: name }, 'skipped', 1);
      this.logger.warn({ schedule: name }, 'Skipped a run, because the last one has not ended');
    });
    return undefined;
  }

  /** Begins a run of a schedule that is not due, even of a disabled one. @returns false if the last one has not ended */
  async beginNow(schedule: Schedule): Promise<boolean> {
    return insertRun(this.runs.manager, schedule, await databaseNow(this.schedules));
  }

  /** The runs that have not ended: all, or that of one schedule. */
  async unfinished(name?: string): Promise<UnfinishedRun[]> {
    const runs = await this.runs.query<{ schedule: string; due_on: Date; stuck_since: Date | null }[]>(
      `SELECT schedule, due_on, CASE WHEN advanced_on < now() - ${STUCK_AFTER} THEN advanced_on END AS stuck_since
         FROM snapshotd.schedule_run WHERE status = 'IN_PROGRESS' AND schedule = coalesce($1, schedule)`,
      [name],
    );
    return runs.map(({ schedule, due_on: dueOn, stuck_since: stuckSince }) => ({
      schedule,
      dueOn: dueOn.getTime(),
      stuckSince: stuckSince?.getTime(),
    }));
  }

  /**
   * Takes the next steps of a run. Each step is recorded or can be found before the next one begins, so if the process
   * dies, its successor repeats nothing.
   * @returns the milliseconds after which to call this again; undefined if the run has ended
   */
  async advance({ schedule: name, dueOn }: ScheduledRun, signal: AbortSignal): Promise<number | undefined> {
    const run = await this.runs.findOneBy({ schedule: name, dueOn: new Date(dueOn), status: 'IN_PROGRESS' });
    const schedule = await this.schedules.findOneBy({ name });
    if (run === null || schedule === null) return undefined;
    await this.noteStep(run);
    const timer = setInterval(() => void this.noteStep(run).catch(() => undefined), NOTE_EVERY_MS);
    try {
      return await this.nextStep(run, schedule, signal);
    } catch (error) {
      if (error instanceof BadRequestException) return await this.end(run, 'FAILED', error.message);
      if (!(error instanceof Failure) || error.persistence === 'transient') throw error;
      // A run that never ends would block all later ones.
      return await this.end(run, 'FAILED', errorSentence(error));
    } finally {
      clearInterval(timer);
    }
  }

  private async noteStep({ schedule, dueOn }: ScheduleRun): Promise<void> {
    await this.runs.update({ schedule, dueOn }, { advancedOn: () => 'now()' });
  }

  /** @throws transient failures, after which the step is repeated */
  private async nextStep(
    run: ScheduleRun,
    schedule: Schedule,
    signal: AbortSignal,
  ): Promise<number | undefined> {
    if (run.archive === null) {
      const backup = await this.daemonOf(run, schedule, 'BACKUP');
      if (backup === undefined) return this.end(run, 'FAILED', forgotten('backup', run.backupDaemon));
      if (isUnderWay(backup)) return LOOK_EVERY_MS;
      if (backup.status === 'FAILED')
        return this.end(run, 'FAILED', `The backup failed: ${backup.errorMessage}`);
      run.archive = await this.record(run, schedule, backup);
    }
    const archive = { url: run.archive, key: archiveKey(run.archive, this.settings.store) };

    const { afterBackup: level } = run;
    if (level !== 'nothing') {
      const verification = await this.daemonOf(run, schedule, 'VERIFY', { ...archive, level });
      if (verification === undefined)
        return this.end(run, 'FAILED', forgotten('verification', run.verifyDaemon));
      if (isUnderWay(verification)) return LOOK_EVERY_MS;
      if (verification.status === 'FAILED')
        return this.end(run, 'FAILED', `The verification failed: ${verification.errorMessage}`);
      const durationMs = verification.verification?.durationMs ?? null;
      await this.archives.query(
        `UPDATE snapshotd.schedule_archive
            SET verified_on = least($2, now()), verified_by = $3, verification_seconds = $4 WHERE url = $1`,
        [archive.url, endOf(verification), level, durationMs === null ? null : durationMs / 1_000],
      );
    }

    if (run.recover !== null) {
      const { recoverInto, ...options } = run.recover;
      const intoDatabase = recoveredName(schedule.name, run.dueOn);
      const request = { ...archive, ...options, intoDatabase, otherDatabase: true };
      const restore = await this.daemonOf(run, { ...schedule, repository: recoverInto }, 'RESTORE', request);
      if (restore === undefined) return this.end(run, 'FAILED', forgotten('restore', run.verifyDaemon));
      if (isUnderWay(restore)) return LOOK_EVERY_MS;
      if (restore.status === 'FAILED')
        return this.end(run, 'FAILED', `The recover into ${recoverInto} failed: ${restore.errorMessage}`);
      await this.dropKept(run, recoverInto);
    }

    // Before pruning, whose outcome does not matter here: the new archive exists.
    await this.notifications.runSucceeded({ schedule: run.schedule, dueOn: run.dueOn.getTime() });
    return this.end(run, 'COMPLETED', await this.pruning.prune(schedule, signal));
  }

  /**
   * The status of the run's backup or verification, which is started if it was not.
   * @returns undefined if the queue has lost the job
   */
  private async daemonOf(
    run: ScheduleRun,
    { repository: name }: Schedule,
    type: keyof typeof ACTIONS,
    archive?: ArchiveRequest,
  ): Promise<DaemonStatus | undefined> {
    const { schedule, dueOn } = run;
    const column = type === 'BACKUP' ? 'backupDaemon' : 'verifyDaemon';
    const mark = `${type} of schedule ${schedule} at ${dueOn.toISOString()}`;
    const known = run[column];
    if (known !== null) return this.reader.statusOfMarked(known, mark);
    const action = ACTIONS[type];
    const repository = await this.repositories.forJob(name);
    const confirmedKey = type === 'BACKUP' ? await this.lostRows.newestConfirmedKey(name) : undefined;
    const work = { repository, archive, confirmedKey };
    const status = await this.audit.recorded(
      { schedule, action, subject: archive?.url, repository: name },
      () => this.daemons.startMarked(mark, type, `schedule ${schedule}`, work),
    );
    await this.runs.update({ schedule, dueOn }, { [column]: status.id });
    this.logger.info({ schedule, daemon: status.id, type }, 'A schedule has started a job');
    return status;
  }

  /** Drops the databases that earlier runs of the schedule have kept: only the newest one is left. */
  private async dropKept({ schedule, dueOn }: ScheduleRun, name: string): Promise<void> {
    const account = `schedule ${schedule}`;
    const records = await this.kept.list();
    const [, ...older] = records.filter((one) => one.startedBy === account && one.repository === name);
    const repository = await this.repositories.forJob(name);
    for (const { name: database } of older)
      await this.audit.recorded(
        { schedule, action: 'database.drop', subject: database, repository: name },
        () =>
          this.daemons.startMarked(
            `DROP ${database} of schedule ${schedule} at ${dueOn.toISOString()}`,
            'DROP',
            account,
            { repository, database },
          ),
      );
  }

  /**
   * Records the archive of a backup. The queue's times are those of the API and the worker; times in the future, which came
   * from a wrong clock, count as now.
   * @returns the archive's URL
   */
  private async record(
    { schedule, dueOn }: ScheduleRun,
    { repository }: Schedule,
    backup: DaemonStatus,
  ): Promise<string> {
    const { id, backupUrl: url, startedOn, shrunk } = backup;
    if (url === null) throw new Error(`Backup ${id} has completed without an archive`);
    const key = archiveKey(url, this.settings.store);
    await this.archives.query(
      `INSERT INTO snapshotd.schedule_archive (url, key, schedule, daemon, created_on, completed_on, shrunk, repository)
       VALUES ($1, $2, $3, $4, least($5, now()), least($6, now()), $7, $8) ON CONFLICT DO NOTHING`,
      [url, key, schedule, id, new Date(startedOn), endOf(backup), shrunk !== undefined, repository],
    );
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

/** The name of the database until the swap. */
function recoveredName(schedule: string, dueOn: Date): string {
  const time = dueOn.toISOString().replace(/\D/g, '').slice(0, 14);
  // A name in PostgreSQL has at most 63 bytes.
  return `${schedule.slice(0, 48)}_${time}`;
}

/** @returns false if the last run has not ended */
async function insertRun(
  manager: EntityManager,
  { name, afterBackup, recover }: Schedule,
  dueOn: number,
): Promise<boolean> {
  const began = await manager.query<unknown[]>(
    `INSERT INTO snapshotd.schedule_run AS last (schedule, due_on, started_on, after_backup, recover, status)
     VALUES ($1, $2, now(), $3, $4, 'IN_PROGRESS')
     ON CONFLICT (schedule) DO UPDATE
        SET due_on = excluded.due_on, started_on = excluded.started_on, advanced_on = excluded.started_on,
            after_backup = excluded.after_backup, recover = excluded.recover, status = excluded.status,
             backup_daemon = NULL,
            archive = NULL, verify_daemon = NULL, skipped = 0, error_message = NULL
      WHERE last.status <> 'IN_PROGRESS'
     RETURNING schedule`,
    [name, new Date(dueOn), afterBackup, recover && JSON.stringify(recover)],
  );
  return began.length === 1;
}

function isUnderWay({ status }: DaemonStatus): boolean {
  return status === 'STARTED' || status === 'IN_PROGRESS';
}

function endOf({ startedOn, totalTimeMS }: DaemonStatus): Date {
  return new Date(startedOn + totalTimeMS);
}

function forgotten(what: string, id: string | null): string {
  return `The queue no longer contains the ${what}, job ${id}. Check whether the queue has lost its data.`;
}
