import type { Settings } from '#config';
import { Failure, withTimeout } from '#common';
import type { RepositoryCheck, RestorePreview } from '#contracts';
import { check, previewRestore } from '#engine';
import type { Keys } from '#keys';
import type { Logger } from '#logging';
import type { ArchiveRequest, CheckRecords, DaemonJobData, DaemonResult, WorkerRegistry } from '#queue';
import { isBelowPrefix, type ObjectStore } from '#storage';
import { type Target, targetOf } from './job-repository.js';

/** How long a check may take: its statements are short, and somebody waits for it. */
const WITHIN_MS = 120_000;

/** Checks repositories and previews restores with the engine. */
export class CheckRunner {
  constructor(
    private readonly settings: Settings,
    private readonly store: ObjectStore,
    private readonly keys: Keys,
    private readonly registry: WorkerRegistry,
    private readonly records: CheckRecords,
    private readonly logger: Logger,
  ) {}

  /** Checks a repository, or previews the restore of an archive. @throws Failure, or the signal's reason */
  async run(
    { archive, ...data }: Pick<DaemonJobData, 'archive' | 'repository'>,
    signal: AbortSignal,
  ): Promise<DaemonResult> {
    return withTimeout(WITHIN_MS, signal, late, async (ended) => {
      const done = { backupUrl: null, entities: 0 };
      const target = targetOf(data, this.settings, this.keys);
      if (archive === undefined) return { ...done, check: await this.checkRepository(target, ended) };
      return { ...done, restorePlan: await this.preview(target, archive, ended) };
    });
  }

  /** Checks the repository of the settings. */
  async checkDefault(signal: AbortSignal): Promise<void> {
    await this.checkRepository(targetOf({}, this.settings, this.keys), signal);
  }

  /** Checks a repository, and records the result as its newest one. */
  private async checkRepository(target: Target, signal: AbortSignal): Promise<RepositoryCheck> {
    const { name, keyPrefix, backup } = target;
    const { repository } = await this.recorded(target);
    const result = await check({ ...backup, name, repository, store: this.store, keyPrefix, signal });
    await this.records.write(result);
    const problems = result.findings.filter(({ level }) => level === 'problem');
    this.logger.info({ repository: name, problems: problems.length }, 'Checked the repository');
    for (const { kind, message } of problems) this.logger.warn({ repository: name, kind }, message);
    return result;
  }

  private async preview(
    target: Target,
    archive: ArchiveRequest,
    signal: AbortSignal,
  ): Promise<RestorePreview> {
    const { key, allowExtraTables = false, fireEventTriggers = false } = archive;
    if (!isBelowPrefix(key, this.settings.store))
      throw new Failure(
        'ARCHIVE_URL_REFUSED',
        'permanent',
        `The archive ${key} is not below this worker's S3_PREFIX "${this.settings.store.prefix}".`,
      );
    return previewRestore({
      ...archive,
      ...(await this.recorded(target)),
      ...{ name: target.name, allowExtraTables, fireEventTriggers },
      otherDatabase: archive.otherDatabase === true,
      store: this.store,
      signal,
    });
  }

  /** The repository with the database that the queue has recorded for it. */
  private async recorded({ name, repository }: Target) {
    const record = await this.registry.identity(name);
    const { identity, predecessors = [] } = record === undefined || record === 'forged' ? {} : record;
    return { repository: { ...repository, ...(identity !== undefined && { identity }) }, predecessors };
  }
}

function late(): Failure {
  return new Failure(
    'DATABASE_UNREACHABLE',
    'transient',
    `The check did not end within ${WITHIN_MS / 1_000} seconds.`,
  );
}
