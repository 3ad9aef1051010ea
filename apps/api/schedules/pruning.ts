import { Inject, Injectable, ServiceUnavailableException } from '@nestjs/common';
import { InjectRepository } from '@nestjs/typeorm';
import { Repository } from 'typeorm';
import type { Settings } from '#config';
import { errorSentence, Failure } from '#contracts';
import { type Schedule, ScheduleArchive } from '#database';
import { LOGGER, type Logger } from '#logging';
import { DaemonQueue } from '#queue';
import { deleteArchive } from '#snapshot';
import { ObjectStore } from '#storage';
import { SETTINGS } from '../settings.js';
import { type PlannedArchive, planPruning, type PruningPlan } from './pruning-plan.js';

/** An archive of a schedule that lies in the bucket. */
export interface KeptArchive extends PlannedArchive {
  url: string;
  /** What a restore may be told instead of the URL. */
  name: string;
}

/** How long the bucket may take for a dry run. */
const PLANNED_WITHIN_MS = 30_000;

/** Deletes the archives of a schedule that its retention does not keep, and no others. */
@Injectable()
export class Pruning {
  constructor(
    @InjectRepository(ScheduleArchive) private readonly archives: Repository<ScheduleArchive>,
    private readonly store: ObjectStore,
    private readonly daemons: DaemonQueue,
    @Inject(SETTINGS) private readonly settings: Settings,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  /**
   * What would be deleted now, and why the others are kept.
   * @throws Failure STORE_*; QueueUnavailable
   */
  async plan(schedule: Schedule, signal: AbortSignal): Promise<PruningPlan<KeptArchive>> {
    const { here, elsewhere } = await this.find(schedule, signal);
    const { retention, timeZone, afterBackup } = schedule;
    const plan: PruningPlan<KeptArchive> =
      retention === null
        ? { keep: here.map((archive) => ({ archive, because: ['no retention'] })), delete: [] }
        : await this.spareRead(
            planPruning(here, { retention, timeZone, verifies: afterBackup !== 'nothing' }),
          );
    plan.keep.push(...elsewhere.map((archive) => ({ archive, because: ['in another bucket'] })));
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
   * Deletes what the plan says. A store that refuses is no reason for a run to fail: the next one tries again.
   * @returns a sentence that says what could not be done; undefined when all was
   * @throws QueueUnavailable; the signal's reason
   */
  async prune(schedule: Schedule, signal: AbortSignal): Promise<string | undefined> {
    if (schedule.retention === null) return undefined;
    try {
      const { delete: doomed } = await this.plan(schedule, signal);
      for (const archive of doomed) await this.delete(schedule, archive, signal);
      return undefined;
    } catch (error) {
      if (!(error instanceof Failure) || !error.code.startsWith('STORE_')) throw error;
      return `Old archives could not be deleted: ${errorSentence(error)}`;
    }
  }

  /** The row last: what is left when this breaks off is found again by it. */
  private async delete({ name }: Schedule, { key, url }: KeptArchive, signal: AbortSignal): Promise<void> {
    await deleteArchive(this.store, key, signal);
    await this.archives.delete({ url, schedule: name });
    this.logger.info({ schedule: name, archive: url }, 'Deleted an archive that the retention does not keep');
  }

  /** The archives on record. One that somebody else has deleted takes no place from the others. */
  private async find(
    { name }: Schedule,
    signal: AbortSignal,
  ): Promise<{ here: KeptArchive[]; elsewhere: KeptArchive[] }> {
    const { prefix } = this.settings.store;
    const rows = await this.archives.findBy({ schedule: name });
    const archives = rows.map(({ key, url, createdOn, verifiedOn }) => ({
      key,
      url,
      name: key.startsWith(prefix) ? key.slice(prefix.length) : url,
      createdOn: createdOn.getTime(),
      verified: verifiedOn !== null,
    }));
    // Where the bucket was changed meanwhile, the same key means something else.
    const here = archives.filter(({ key, url }) => this.store.url(key) === url);
    const there = await Promise.all(here.map(({ key }) => this.store.open(key, signal)));
    return {
      here: here.filter((_archive, index) => there[index] !== undefined),
      elsewhere: archives.filter((archive) => !here.includes(archive)),
    };
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
