import { createHash } from 'node:crypto';
import type { RepositoryCheck } from '#contracts';
import { repositoryCheck } from '#contracts/schemas';
import type { Keys } from '#keys';
import { SignedRecords, type WorkerJobQueue } from './signed-records.js';

const KIND = 'check';

/** The newest check of each repository. The history of jobs forgets; these stay. All methods throw QueueUnavailable. */
export class CheckRecords {
  private readonly records: SignedRecords;

  constructor(queue: WorkerJobQueue, keys: Keys) {
    this.records = new SignedRecords(queue, keys);
  }

  async write(check: RepositoryCheck): Promise<void> {
    await this.records.write(idOf(check.repository), KIND, check);
  }

  /** Forgets the check of a repository that is gone, or leads elsewhere. */
  async forget(repository: string): Promise<void> {
    await this.records.remove(idOf(repository));
  }

  /** @returns undefined if the repository was never checked */
  async newest(repository: string): Promise<RepositoryCheck | undefined> {
    const job = await this.records.fetch(idOf(repository));
    const check = this.records.factsOf(job, KIND, repositoryCheck);
    // A record that was copied under another id is none.
    return check?.repository === repository ? check : undefined;
  }
}

function idOf(repository: string): string {
  return `check-${createHash('sha256').update(repository).digest('hex')}`;
}
