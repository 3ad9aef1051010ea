import { Inject, Injectable, ServiceUnavailableException } from '@nestjs/common';
import { InjectRepository } from '@nestjs/typeorm';
import { isDeepStrictEqual } from 'node:util';
import { In, Repository } from 'typeorm';
import { SETTINGS, type Settings } from '#config';
import { errorSentence, Failure } from '#common';
import { Schedule, ScheduleArchive } from '#database';
import { LOGGER, type Logger } from '#logging';
import { DaemonReader } from '#queue';
import { deleteArchive } from '#engine';
import { isBelowPrefix, type ListedObject, ObjectStore } from '#storage';
import { ArchiveReader } from '../archives/archive-reader.js';
import { LostRows } from './lost-rows.js';
import { type PlannedArchive, planPruning, type PruningPlan } from './pruning-plan.js';
import { ScheduleAudit } from './schedule-audit.js';

/** An archive of a schedule. */
export interface KeptArchive extends PlannedArchive {
  url: string;
  /** The name, which restores accept in place of the URL. */
  name: string;
}

/** The recorded archives of a schedule. */
interface FoundArchives {
  here: KeptArchive[];
  /** No longer in the bucket. */
  gone: KeptArchive[];
  /** In another bucket, or not below the prefix. */
  elsewhere: KeptArchive[];
}

/** The time limit of a dry run. */
const PLANNED_WITHIN_MS = 30_000;
/** The tolerated difference between the database's and the store's clock. */
const CLOCKS_DIFFER_MS = 10 * 60_000;
/** The number of parallel requests to the store. */
const AT_ONCE = 8;

/** Deletes the archives of a schedule that its retention does not keep. */
@Injectable()
export class Pruning {
  constructor(
    @InjectRepository(Schedule) private readonly schedules: Repository<Schedule>,
    @InjectRepository(ScheduleArchive) private readonly archives: Repository<ScheduleArchive>,
    private readonly store: ObjectStore,
    private readonly reader: ArchiveReader,
    private readonly daemons: DaemonReader,
    private readonly lostRows: LostRows,
    private readonly audit: ScheduleAudit,
    @Inject(SETTINGS) private readonly settings: Settings,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  /**
   * Plans which archives to delete now, and why to keep the others.
   * @throws Failure STORE_*; QueueUnavailable
   */
  async plan(schedule: Schedule, signal: AbortSignal): Promise<PruningPlan<KeptArchive>> {
    return this.planFor(schedule, await this.find(schedule, signal));
  }

  private async planFor(
    schedule: Schedule,
    { here, elsewhere }: FoundArchives,
  ): Promise<PruningPlan<KeptArchive>> {
    const { retention, timeZone, afterBackup } = schedule;
    const plan: PruningPlan<KeptArchive> =
      retention === null
        ? { keep: here.map((archive) => ({ archive, because: ['no retention'] })), delete: [] }
        : await this.spareRead(
            planPruning(here, {
              retention,
              timeZone,
              level: afterBackup === 'nothing' ? undefined : afterBackup,
            }),
          );
    const since = (await this.lostRows.unconfirmed()).get(schedule.name);
    if (since !== undefined) {
      const because = [`rows are missing since ${since.toISOString()}, and nobody has confirmed that`];
      plan.keep.push(...plan.delete.splice(0).map((archive) => ({ archive, because })));
    }
    plan.keep.push(
      ...elsewhere.map((archive) => ({
        archive,
        because: [this.isInBucket(archive) ? 'not below S3_PREFIX' : 'in another bucket'],
      })),
    );
    plan.keep.sort((a, b) => b.archive.createdOn - a.archive.createdOn);
    return plan;
  }

  /**
   * The plan, within a time limit for clients.
   * @throws ServiceUnavailableException if the store fails; QueueUnavailable
   */
  async dryRun(schedule: Schedule): Promise<PruningPlan<KeptArchive>> {
    try {
      return await this.plan(schedule, AbortSignal.timeout(PLANNED_WITHIN_MS));
    } catch (error) {
      if (error instanceof Failure && error.code.startsWith('STORE_'))
        throw new ServiceUnavailableException(error.sentence);
      throw error;
    }
  }

  /**
   * Carries the plan out, as long as the schedule does not change, and forgets archives that are no longer in the bucket.
   * A failure of the store does not fail the run: the next run tries again.
   * @returns a sentence that describes the failure, if there was one
   * @throws QueueUnavailable; AuditUnavailable; the signal's reason
   */
  async prune(schedule: Schedule, signal: AbortSignal): Promise<string | undefined> {
    if (schedule.retention === null) return undefined;
    const since = (await this.lostRows.unconfirmed()).get(schedule.name);
    if (since !== undefined) {
      const { name } = schedule;
      // The schedule shows it for as long as it lasts: a sentence in the run would outlive the confirmation.
      this.logger.warn({ schedule: name, since }, 'Old archives stay until somebody confirms a loss of rows');
      return undefined;
    }
    try {
      const found = await this.find(schedule, signal);
      // The run has just written an archive. If the bucket shows none, its answer is not to be trusted.
      if (found.here.length > 0) await this.forget(schedule, found.gone);
      const { delete: doomed } = await this.planFor(schedule, found);
      for (const archive of doomed) {
        // Deleting takes time: meanwhile somebody may have changed the schedule or started a restore.
        if (!(await this.isStill(schedule))) return undefined;
        if ((await this.daemons.readersOf(archive.key)).length > 0) continue;
        await this.delete(schedule, archive, signal);
      }
      return undefined;
    } catch (error) {
      if (!(error instanceof Failure) || !error.code.startsWith('STORE_')) throw error;
      return `Cannot delete old archives: ${errorSentence(error)}`;
    }
  }

  /** Deletes the row last, so that the next run finds the remains of an interrupted deletion. */
  private async delete(
    { name: schedule, repository }: Schedule,
    { key, url, name: archive }: KeptArchive,
    signal: AbortSignal,
  ): Promise<void> {
    const act = { schedule, action: 'archive.delete', subject: archive, repository } as const;
    await this.audit.recorded(act, () => deleteArchive(this.store, key, signal));
    await this.archives.delete({ url, schedule });
    this.logger.info({ schedule, archive: url }, 'Deleted an archive that the retention does not keep');
  }

  /**
   * Looks the recorded archives up in the bucket. Archives that somebody else has deleted must not count towards the
   * limits. Verifications count, whether a schedule or a person has started them.
   */
  private async find({ name, repository }: Schedule, signal: AbortSignal): Promise<FoundArchives> {
    const { store } = this.settings;
    const { prefix } = store;
    // Archives of a repository that it backed up before do not give way to those of another one.
    const rows = await this.archives.findBy({ schedule: name, repository });
    const archives = rows.map(({ key, url, createdOn }) => ({
      key,
      url,
      name: key.startsWith(prefix) ? key.slice(prefix.length) : url,
      createdOn: createdOn.getTime(),
      reached: null,
    }));
    // If the bucket or the prefix has changed, the same key may be another installation's archive.
    const ours = archives.filter((archive) => this.isInBucket(archive) && isBelowPrefix(archive.key, store));
    const here: KeptArchive[] = [];
    for (let start = 0; start < ours.length; start += AT_ONCE) {
      const some = ours.slice(start, start + AT_ONCE);
      const seen = await Promise.all(some.map((archive) => this.seenInBucket(archive, signal)));
      here.push(...seen.filter((archive) => archive !== undefined));
    }
    const lying = new Set(here.map(({ url }) => url));
    return {
      here,
      gone: ours.filter(({ url }) => !lying.has(url)),
      elsewhere: archives.filter((archive) => !ours.includes(archive)),
    };
  }

  private isInBucket({ key, url }: KeptArchive): boolean {
    return this.store.url(key) === url;
  }

  /** @returns undefined if it is not there */
  private async seenInBucket(archive: KeptArchive, signal: AbortSignal): Promise<KeptArchive | undefined> {
    const object = await this.store.find(archive.key, signal);
    if (object === undefined) return undefined;
    const { verification } = await this.reader.verificationBeside(object, signal);
    return { ...archive, createdOn: takenOn(archive, object), reached: verification?.reached ?? null };
  }

  private async forget({ name: schedule }: Schedule, gone: KeptArchive[]): Promise<void> {
    if (gone.length === 0) return;
    await this.archives.delete({ schedule, url: In(gone.map(({ url }) => url)) });
    this.logger.info({ schedule, archives: gone.length }, 'Forgot archives that are no longer in the bucket');
  }

  /** Whether the schedule is still enabled and has the same retention. */
  private async isStill(schedule: Schedule): Promise<boolean> {
    const now = await this.schedules.findOneBy({ name: schedule.name });
    return now !== null && now.enabled && isDeepStrictEqual(plannedBy(now), plannedBy(schedule));
  }

  /** Keeps the archives that jobs wait for or read. */
  private async spareRead(plan: PruningPlan<KeptArchive>): Promise<PruningPlan<KeptArchive>> {
    const spared: PruningPlan<KeptArchive> = { keep: [...plan.keep], delete: [] };
    for (const archive of plan.delete) {
      const readers = await this.daemons.readersOf(archive.key);
      if (readers.length === 0) spared.delete.push(archive);
      else spared.keep.push({ archive, because: readers.map((id) => `job ${id} needs it`) });
    }
    return spared;
  }
}

/**
 * When an archive was taken. No backup starts after its upload: such a time came from a wrong clock, and the time of the
 * upload counts.
 */
function takenOn({ createdOn }: KeptArchive, { modifiedOn }: ListedObject): number {
  return createdOn > modifiedOn + CLOCKS_DIFFER_MS ? modifiedOn : createdOn;
}

/** The properties that a plan depends on. A schedule that was deleted and created again is another one. */
function plannedBy({ createdOn, repository, retention, timeZone, afterBackup }: Schedule) {
  return { createdOn, repository, retention, timeZone, afterBackup };
}
