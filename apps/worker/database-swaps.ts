import { Failure } from '#common';
import { dropKept, type SwapRecords } from '#engine';
import type { KeptDatabases, WorkerRegistry } from '#queue';

type DropRequest = Parameters<typeof dropKept>[0];

/** Records swaps of databases in the queue, and drops the databases that they kept. */
export class DatabaseSwaps {
  constructor(
    private readonly registry: WorkerRegistry,
    private readonly kept: KeptDatabases,
  ) {}

  /** The records of one restore into a repository. */
  recordsOf(daemon: string, startedBy: string, repository: string): SwapRecords {
    return {
      begin: async (kept, next) => {
        await this.kept.add({ ...kept, repository, daemon, startedBy, keptOn: Date.now() });
        await this.registry.announce(next, repository);
      },
      committed: async (next) => {
        await this.registry.accept(next, true, repository);
      },
      failed: async ({ name }) => {
        await this.registry.announce(undefined, repository);
        await this.kept.remove(name);
      },
    };
  }

  /** Drops a database, and forgets it if it is gone or no longer the one that was kept. @throws Failure NOT_FOUND, DROP_REFUSED */
  async drop(request: DropRequest, name: string): Promise<void> {
    const record = await this.kept.find(name);
    if (record === undefined)
      throw new Failure('NOT_FOUND', 'permanent', `No swap of this installation keeps a database ${name}.`);
    try {
      await dropKept(request, record);
    } catch (error) {
      if (error instanceof Failure && error.code === 'NOT_FOUND') await this.kept.remove(name);
      throw error;
    }
    await this.kept.remove(name);
  }

  /** Signs the records again, so that they outlive a key of SECRET_KEY_PREVIOUS. */
  renew(): Promise<void> {
    return this.kept.renew();
  }
}
