import type { Settings } from '#config';
import { PRODUCT } from '#contracts';
import type { DaemonJob, DaemonJobResult, JobJournal } from '#queue';
import { backup } from '#snapshot';
import type { ObjectStore } from '#storage';

/** Hands a daemon to the procedure that does its work. */
export class DaemonRunner {
  constructor(
    private readonly settings: Settings,
    private readonly store: ObjectStore,
  ) {}

  /** @throws Failure, or the signal's reason */
  async run(job: DaemonJob, journal: JobJournal, signal: AbortSignal): Promise<DaemonJobResult> {
    const { key, entities } = await backup({
      daemonId: job.id ?? '',
      version: PRODUCT.version,
      repository: this.settings.repository,
      store: this.store,
      keyPrefix: this.settings.store.prefix,
      compressionLevel: this.settings.compressionLevel,
      journal,
      signal,
    });
    return { backupUrl: this.store.url(key), entities };
  }
}
