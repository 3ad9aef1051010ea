import { Inject, Injectable, ServiceUnavailableException } from '@nestjs/common';
import { InjectRepository } from '@nestjs/typeorm';
import { isDeepStrictEqual } from 'node:util';
import { In, Repository } from 'typeorm';
import type { Settings } from '#config';
import { errorSentence, Failure } from '#common';
import { Schedule, ScheduleArchive } from '#database';
import { LOGGER, type Logger } from '#logging';
import { DaemonReader } from '#queue';
import { deleteArchive } from '#engine';
import { isBelowPrefix, type ListedObject, ObjectStore } from '#storage';
import { ArchiveReader } from '../archives/archive-reader.js';
import { SETTINGS } from '../settings.js';
import { type PlannedArchive, planPruning, type PruningPlan } from './pruning-plan.js';
import { ScheduleAudit } from './schedule-audit.js';

/** An archive of a schedule that lies in the bucket. */
export interface KeptArchive extends PlannedArchive {
  url: string;
  /** What a restore may be told instead of the URL. */
  name: string;
}

/** The archives on record of a schedule. */
interface FoundArchives {
  here: KeptArchive[];
  /** In this bucket no more. */
  gone: KeptArchive[];
  /** In another bucket, or not below the prefix. */
  elsewhere: KeptArchive[];
}

/** How long the bucket may take for a dry run. */
const PLANNED_WITHIN_MS = 30_000;
/** The difference between the database's and the store's clock that is tolerated. */
const CLOCKS_DIFFER_MS = 10 * 60_000;
/** How many archives the bucket is asked about at once. */
const AT_ONCE = 8;

/** Deletes the archives of a schedule that its retention does not keep, and no others. */
@Injectable()
export class Pruning {
  constructor(
    @InjectRepository(Schedule) private readonly schedules: Repository<Schedule>,
    @InjectRepository(ScheduleArchive) private readonly archives: Repository<ScheduleArchive>,
    private readonly store: ObjectStore,
    private readonly reader: ArchiveReader,
    private readonly daemons: DaemonReader,
    private readonly audit: ScheduleAudit,
    @Inject(SETTINGS) private readonly settings: Settings,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  /**
   * What would be deleted now, and why the others are kept.
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
            planPruning(here, { retention, timeZone, verifies: afterBackup !== 'nothing' }),
          );
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
   * The plan for a client that waits for it.
   * @throws ServiceUnavailableException when the store fails; QueueUnavailable
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
   * Deletes what the plan says, as long as the schedule is what it was planned for. Archives on record that do not lie
   * in the bucket any more are struck off. A store that refuses is no reason for a run to fail: the next one tries again.
   * @returns a sentence that says what could not be done; undefined when all was
   * @throws QueueUnavailable; AuditUnavailable; the signal's reason
   */
  async prune(schedule: Schedule, signal: AbortSignal): Promise<string | undefined> {
    if (schedule.retention === null) return undefined;
    try {
      const found = await this.find(schedule, signal);
      // A run has just written one: where none is found, the bucket is not what it was, and nothing is believed.
      if (found.here.length > 0) await this.strikeOff(schedule, found.gone);
      const { delete: doomed } = await this.planFor(schedule, found);
      for (const archive of doomed) {
        // Each may take long: meanwhile somebody may have thought better of it, or started a restore.
        if (!(await this.isStill(schedule))) return undefined;
        if ((await this.daemons.readersOf(archive.key)).length > 0) continue;
        await this.delete(schedule, archive, signal);
      }
      return undefined;
    } catch (error) {
      if (!(error instanceof Failure) || !error.code.startsWith('STORE_')) throw error;
      return `Old archives could not be deleted: ${errorSentence(error)}`;
    }
  }

  /** The row last: what is left when this breaks off is found again by it. */
  private async delete(
    { name: schedule }: Schedule,
    { key, url, name: archive }: KeptArchive,
    signal: AbortSignal,
  ): Promise<void> {
    const act = { schedule, action: 'archive.delete', subject: archive } as const;
    await this.audit.recorded(act, () => deleteArchive(this.store, key, signal));
    await this.archives.delete({ url, schedule });
    this.logger.info({ schedule, archive: url }, 'Deleted an archive that the retention does not keep');
  }

  /**
   * The archives on record, with what the bucket says of them: one that somebody else has deleted takes no place from
   * the others, and verified is what could be restored when it was last verified, by a schedule or by a person.
   */
  private async find({ name }: Schedule, signal: AbortSignal): Promise<FoundArchives> {
    const { store } = this.settings;
    const { prefix } = store;
    const rows = await this.archives.findBy({ schedule: name });
    const archives = rows.map(({ key, url, createdOn }) => ({
      key,
      url,
      name: key.startsWith(prefix) ? key.slice(prefix.length) : url,
      createdOn: createdOn.getTime(),
      verified: false,
    }));
    // Where the bucket or the prefix was changed meanwhile, the same key may be another installation's.
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

  /** @returns undefined for one that does not lie there */
  private async seenInBucket(archive: KeptArchive, signal: AbortSignal): Promise<KeptArchive | undefined> {
    const object = await this.store.find(archive.key, signal);
    if (object === undefined) return undefined;
    const { restorable } = await this.reader.verificationBeside(object, signal);
    return { ...archive, createdOn: takenOn(archive, object), verified: restorable === true };
  }

  private async strikeOff({ name: schedule }: Schedule, gone: KeptArchive[]): Promise<void> {
    if (gone.length === 0) return;
    await this.archives.delete({ schedule, url: In(gone.map(({ url }) => url)) });
    this.logger.info({ schedule, archives: gone.length }, 'Archives lie in the bucket no more');
  }

  /** Whether the schedule goes on, and would have the same planned. */
  private async isStill(schedule: Schedule): Promise<boolean> {
    const now = await this.schedules.findOneBy({ name: schedule.name });
    return now !== null && now.enabled && isDeepStrictEqual(plannedBy(now), plannedBy(schedule));
  }

  /** Takes out of a plan what daemons wait for or read. */
  private async spareRead(plan: PruningPlan<KeptArchive>): Promise<PruningPlan<KeptArchive>> {
    const spared: PruningPlan<KeptArchive> = { keep: [...plan.keep], delete: [] };
    for (const archive of plan.delete) {
      const readers = await this.daemons.readersOf(archive.key);
      if (readers.length === 0) spared.delete.push(archive);
      else spared.keep.push({ archive, because: readers.map((id) => `daemon ${id} needs it`) });
    }
    return spared;
  }
}

/**
 * When an archive was taken. No backup starts after its upload, so a time that says so came from a wrong clock, and the
 * upload's counts.
 */
function takenOn({ createdOn }: KeptArchive, { modifiedOn }: ListedObject): number {
  return createdOn > modifiedOn + CLOCKS_DIFFER_MS ? modifiedOn : createdOn;
}

/** What a plan is made by. One that was removed and made again is another schedule. */
function plannedBy({ createdOn, retention, timeZone, afterBackup }: Schedule) {
  return { createdOn, retention, timeZone, afterBackup };
}
