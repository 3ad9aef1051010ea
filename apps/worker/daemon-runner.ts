import { setTimeout as sleep } from 'node:timers/promises';
import type { Settings } from '#config';
import type { ShrinkageView } from '#contracts';
import { errorSentence, Failure, levelOf, PRODUCT, summarizeOmissions } from '#common';
import type { Keys } from '#keys';
import type { Logger } from '#logging';
import { type DaemonJob, type DaemonResult, type JobJournal, notAuthentic } from '#queue';
import { backup, type BackupResult, recoverInto, restore, verify } from '#engine';
import { isBelowPrefix, type ObjectStore } from '#storage';
import type { DatabaseSwaps } from './database-swaps.js';
import { type Target, targetOf } from './job-repository.js';
import type { Admission } from './presence.js';

/** Tables with losses that a status shows. */
const SHOWN_TABLES = 20;

/** Runs a job with the engine. */
export class DaemonRunner {
  private readonly unfinished = new Set<Promise<void>>();

  constructor(
    private readonly settings: Settings,
    private readonly store: ObjectStore,
    private readonly keys: Keys,
    private readonly swaps: DatabaseSwaps,
    private readonly logger: Logger,
  ) {}

  urlOf(key: string): string {
    return this.store.url(key);
  }

  /** @throws Failure SECRET_KEY_DIFFERS */
  targetOf(job: DaemonJob): Target {
    return targetOf(job.data, this.settings, this.keys);
  }

  /**
   * @param admission the database that the job must find, and those that the repository was in before; empty for a job that
   * needs none
   * @param endAfterSettling set for a job that ended between its attempts: their remains are removed, and this is thrown
   * unless one of them had finished
   * @throws Failure, or the signal's reason
   */
  async run(
    job: DaemonJob,
    journal: JobJournal,
    signal: AbortSignal,
    { identity, predecessors = [] }: Partial<Admission>,
    endAfterSettling?: Failure,
  ): Promise<DaemonResult> {
    const { store: storeSettings } = this.settings;
    const { name, repository, keyPrefix, backup: backupSettings, drill } = this.targetOf(job);
    const request = {
      daemonId: job.id ?? '',
      version: PRODUCT.version,
      repository: { ...repository, ...(identity !== undefined && { identity }) },
      predecessors,
      store: this.store.telling((trouble) => journal.interrupted(trouble)),
      keyPrefix,
      ...backupSettings,
      confirmedKey: job.data.confirmedKey,
      journal,
      finishLater: (what: string, work: Promise<void>) => this.finishLater(what, work),
      signal,
      ...(endAfterSettling !== undefined && { endAfterSettling }),
    };
    if (job.name === 'BACKUP') {
      const { key, omissions, shrunk, ...result } = await backup(request);
      return {
        backupUrl: this.urlOf(key),
        ...result,
        omissions: summarizeOmissions(omissions),
        ...(shrunk !== undefined && { shrunk: viewOf(shrunk) }),
      };
    }
    // Somebody has copied it into this queue.
    if (job.name === 'CHECK') throw notAuthentic();
    const { archive, database } = job.data;
    if (job.name === 'DROP') {
      if (endAfterSettling !== undefined) throw endAfterSettling;
      if (database === undefined) throw new Error(`Job ${request.daemonId} names no database`);
      await this.swaps.drop(request, database);
      return { backupUrl: null, entities: 0 };
    }
    if (archive === undefined) throw new Error(`Job ${request.daemonId} names no archive`);
    const { key, url, ...options } = archive;
    if (!isBelowPrefix(key, storeSettings)) throw notOurs(key, storeSettings.prefix);
    const {
      allowExtraTables = false,
      fireEventTriggers = false,
      otherDatabase = false,
      backupFirst = false,
    } = options;
    if (job.name === 'VERIFY') {
      const { archiveOmits, ...result } = await verify({
        ...request,
        key,
        keys: this.keys,
        allowExtraTables,
        allowExtraColumns: options.allowExtraColumns,
        dropColumns: options.dropColumns,
        fireEventTriggers,
        otherDatabase,
        level: levelOf(options),
        drillServer: { url: drill.url ?? repository.url, parallelJobs: backupSettings.parallelJobs },
        drillAsSuperuser: drill.asSuperuser,
      });
      return { backupUrl: url, ...result, omissions: summarizeOmissions(archiveOmits) };
    }
    const { intoDatabase, swap = false, accept = [], ...inPlace } = options;
    if (intoDatabase !== undefined) {
      const {
        createdRoles = [],
        losses = [],
        archiveOmits,
        ...result
      } = await recoverInto({
        ...request,
        ...options,
        key,
        otherDatabase,
        intoDatabase,
        swap,
        accept,
        records: this.swaps.recordsOf(request.daemonId, job.data.startedBy, name),
      });
      const { entities, bytes, takenOn, database: made, keptDatabase } = result;
      return {
        backupUrl: url,
        ...{ entities, bytes, takenOn, database: made, leftOut: losses },
        omissions: summarizeOmissions(archiveOmits ?? []),
        ...(keptDatabase !== undefined && { keptDatabase }),
        ...(createdRoles.length > 0 && {
          warnings: [`created the roles ${createdRoles.join(', ')}, which cannot log in`],
        }),
      };
    }
    const restoreRequest = {
      ...request,
      ...inPlace,
      key,
      allowExtraTables,
      fireEventTriggers,
      otherDatabase,
      backupFirst,
    };
    const {
      entities,
      bytes,
      omissions = [],
      columns = [],
      archiveOmits = [],
      warnings = [],
    } = await restore(restoreRequest);
    const { safetyKey } = journal.notes;
    return {
      backupUrl: url,
      entities,
      bytes,
      omissions: summarizeOmissions(archiveOmits),
      leftOut: omissions,
      warnings,
      ...(columns.length > 0 && { columns }),
      ...(safetyKey !== undefined && { safetyBackupUrl: this.urlOf(safetyKey) }),
    };
  }

  /** Signs records again, so that they outlive a key of SECRET_KEY_PREVIOUS. */
  async renewRecords(): Promise<void> {
    await this.swaps.renew().catch((error: unknown) => {
      this.logger.warn({ reason: errorSentence(error) }, 'Cannot sign the records of kept databases again');
    });
  }

  /** Waits for the clean-up of failed jobs, at most for the given time. */
  async finish(withinMs: number): Promise<void> {
    const late = sleep(withinMs, undefined, { ref: false });
    await Promise.race([Promise.allSettled(this.unfinished), late]);
  }

  private finishLater(what: string, work: Promise<void>): void {
    this.logger.warn(`${what} continues in the background`);
    const told = work
      .then(
        () => this.logger.info(`${what} finished`),
        (error: unknown) => this.logger.error({ err: error }, `${what} failed: ${errorSentence(error)}`),
      )
      .finally(() => this.unfinished.delete(told));
    this.unfinished.add(told);
  }
}

/** The largest losses of rows, for the status: a repository may have any number of tables. */
function viewOf({ archive, takenAt, total, tables }: NonNullable<BackupResult['shrunk']>): ShrinkageView {
  return {
    archive,
    takenOn: Date.parse(takenAt),
    ...(total !== undefined && { total }),
    tables: tables.slice(0, SHOWN_TABLES),
  };
}

/** The failure of a job that another installation with the same SECRET_KEY has signed. */
function notOurs(key: string, prefix: string): Failure {
  return new Failure(
    'ARCHIVE_URL_REFUSED',
    'permanent',
    `The archive ${key} is not below this worker's S3_PREFIX "${prefix}".`,
    { hint: 'Use a different SECRET_KEY for each installation, and one S3_PREFIX for its API and workers.' },
  );
}
