import { hostname } from 'node:os';
import type { Settings } from '#config';
import { Failure, withTimeout } from '#common';
import type { RepositoryCheck } from '#contracts';
import { check, previewRestore, type Repository } from '#engine';
import type { Logger } from '#logging';
import type { ArchiveRequest, CheckRecords, DaemonResult, WorkerRegistry } from '#queue';
import { isBelowPrefix, type ObjectStore } from '#storage';

/** How long a check may take: its statements are short, and somebody waits for it. */
const WITHIN_MS = 120_000;

/** The repository that the settings define. */
const DEFAULT = 'default';

/** Checks the repository, and previews restores, with the engine. */
export class CheckRunner {
  constructor(
    private readonly settings: Settings,
    private readonly store: ObjectStore,
    private readonly registry: WorkerRegistry,
    private readonly records: CheckRecords,
    private readonly logger: Logger,
  ) {}

  /**
   * @param archive the restore to preview; undefined to check the repository
   * @throws Failure, or the signal's reason
   */
  async run(archive: ArchiveRequest | undefined, signal: AbortSignal): Promise<DaemonResult> {
    return withTimeout(WITHIN_MS, signal, late, async (ended) => {
      const done = { backupUrl: null, entities: 0 };
      if (archive === undefined) return { ...done, check: await this.checkRepository(ended) };
      return { ...done, restorePlan: await this.preview(archive, ended) };
    });
  }

  /** Checks the repository, and records the result as the newest one. */
  async checkRepository(signal: AbortSignal): Promise<RepositoryCheck> {
    const { store: storeSettings, backup } = this.settings;
    const { repository } = await this.found();
    const result = await check({
      ...backup,
      name: DEFAULT,
      repository,
      store: this.store,
      keyPrefix: storeSettings.prefix,
      signal,
    });
    await this.records.write(result);
    const problems = result.findings.filter(({ level }) => level === 'problem');
    this.logger.info({ host: hostname(), problems: problems.length }, 'Checked the repository');
    for (const { kind, message } of problems) this.logger.warn({ kind }, message);
    return result;
  }

  private async preview(archive: ArchiveRequest, signal: AbortSignal) {
    const { key, url, allowExtraTables = false, fireEventTriggers = false, otherDatabase = false } = archive;
    const { prefix } = this.settings.store;
    if (!isBelowPrefix(key, this.settings.store))
      throw new Failure(
        'ARCHIVE_URL_REFUSED',
        'permanent',
        `The archive ${key} is not below this worker's S3_PREFIX "${prefix}".`,
      );
    return previewRestore({
      ...archive,
      ...(await this.found()),
      ...{ name: DEFAULT, key, url, allowExtraTables, fireEventTriggers, otherDatabase },
      store: this.store,
      signal,
    });
  }

  /** The repository with the database that the queue has recorded for it. */
  private async found() {
    const record = await this.registry.identity();
    const { identity, predecessors = [] } = record === undefined || record === 'forged' ? {} : record;
    const repository: Repository = {
      ...this.settings.repository,
      ...(identity !== undefined && { identity }),
    };
    return { repository, predecessors };
  }
}

function late(): Failure {
  return new Failure(
    'DATABASE_UNREACHABLE',
    'transient',
    `The check did not end within ${WITHIN_MS / 1_000} seconds.`,
  );
}
