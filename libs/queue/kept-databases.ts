import { createHash } from 'node:crypto';
import { z } from 'zod';
import { DEFAULT_REPOSITORY, type KeptDatabase } from '#contracts';
import type { Keys } from '#keys';
import { inBatches } from './job-batches.js';
import { answered } from './queue-unavailable.js';
import { SignedRecords, type WorkerJobQueue } from './signed-records.js';

const KIND = 'kept database';
const PREFIX = 'kept-';

/** Limits the records that an API reads, because others may write to the queue. */
const MOST_RECORDS = 10_000;

const recordSchema = z.object({
  name: z.string(),
  of: z.string(),
  oid: z.number(),
  owner: z.string(),
  mark: z.string(),
  /** Missing in records of before repositories had names. */
  repository: z.string().default(DEFAULT_REPOSITORY),
  daemon: z.string(),
  startedBy: z.string().default(''),
  keptOn: z.int().min(0),
});

export interface KeptRecord extends KeptDatabase {
  /** The name of the repository whose database it was. */
  repository: string;
  /** The id of the restore that swapped it. */
  daemon: string;
  /** Who started it: an email, or `schedule NAME`. Empty in older records. */
  startedBy: string;
  /** Milliseconds since 1970, by the worker's clock. */
  keptOn: number;
}

/**
 * The databases that swaps have kept. The records are in the queue beside that of the repository's database, and not with the
 * accounts: the worker writes them before it swaps, and it never connects to the accounts. The history of jobs forgets; these
 * stay until the database is dropped. All methods throw QueueUnavailable.
 */
export class KeptDatabases {
  private readonly records: SignedRecords;

  constructor(queue: WorkerJobQueue, keys: Keys) {
    this.records = new SignedRecords(queue, keys);
  }

  async add(record: KeptRecord): Promise<void> {
    await this.records.write(idOf(record.name), KIND, record);
  }

  /** @returns undefined unless a swap of this installation has kept a database of this name */
  async find(name: string): Promise<KeptRecord | undefined> {
    return this.read(idOf(name));
  }

  remove(name: string): Promise<void> {
    return this.records.remove(idOf(name));
  }

  /** All of them, newest first. */
  async list(): Promise<KeptRecord[]> {
    const ids = await answered(this.records.queue.getRanges(['waiting'], 0, MOST_RECORDS - 1));
    const own = ids.filter((id) => id.startsWith(PREFIX));
    const found: KeptRecord[] = [];
    for await (const record of inBatches(own, (id) => this.read(id))) found.push(record);
    return found.sort((one, other) => other.keptOn - one.keptOn);
  }

  /** Signs the records of a key of SECRET_KEY_PREVIOUS again, so that they outlive that key. */
  async renew(): Promise<void> {
    for (const { name } of await this.list()) await this.records.renew(idOf(name), KIND, recordSchema);
  }

  private async read(id: string): Promise<KeptRecord | undefined> {
    const record = this.records.factsOf(await this.records.fetch(id), KIND, recordSchema);
    // A record that was copied under another id is none.
    return record !== undefined && idOf(record.name) === id ? record : undefined;
  }
}

/** BullMQ's ids hold no colons, and a database's name may. */
function idOf(name: string): string {
  return PREFIX + createHash('sha256').update(name).digest('hex');
}
