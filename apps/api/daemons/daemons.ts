import { BadRequestException, Inject, Injectable, NotFoundException } from '@nestjs/common';
import type { Settings } from '#config';
import { Failure } from '#common';
import { type DaemonStatus, type DaemonType } from '#contracts';
import { type ArchiveRequest, type DaemonFilter, DaemonQueue, DaemonReader } from '#queue';
import { archiveKey, ObjectStore } from '#storage';
import { isId } from '../http/ids.js';
import { SETTINGS } from '../settings.js';
import type { RestoreRequest, VerifyRequest } from './daemon-requests.js';

/** Who starts a daemon. */
export interface Start {
  /** An administrator's email. */
  startedBy: string;
  /** Of several starts of one account with the same key, one is done. */
  key?: string | undefined;
}

/** The daemons, as administrators start, see and terminate them. All methods throw QueueUnavailable. */
@Injectable()
export class Daemons {
  constructor(
    private readonly queue: DaemonQueue,
    private readonly reader: DaemonReader,
    private readonly store: ObjectStore,
    @Inject(SETTINGS) private readonly settings: Settings,
  ) {}

  /** @throws Failure IDEMPOTENCY_KEY_REUSED, IDEMPOTENCY_KEY_BUSY */
  startBackup(start: Start): Promise<DaemonStatus> {
    return this.start(start, 'BACKUP');
  }

  /** @throws BadRequestException; Failure IDEMPOTENCY_KEY_REUSED, IDEMPOTENCY_KEY_BUSY */
  async startRestore(start: Start, { url, ...options }: RestoreRequest): Promise<DaemonStatus> {
    this.keepOutOfRepository(options.intoSchemas);
    return this.start(start, 'RESTORE', { ...this.archiveAt(url), ...options });
  }

  /** @throws BadRequestException; Failure IDEMPOTENCY_KEY_REUSED, IDEMPOTENCY_KEY_BUSY */
  async startVerify(start: Start, { url, ...options }: VerifyRequest): Promise<DaemonStatus> {
    return this.start(start, 'VERIFY', { ...this.archiveAt(url), ...options });
  }

  list(filter: DaemonFilter): Promise<{ daemons: DaemonStatus[]; total: number }> {
    return this.reader.list(filter);
  }

  /** The backups that have ended since a time, in no order, with how long they took. Milliseconds. */
  async backupsSince(since: number): Promise<{ endedOn: number; duration: number; failed: boolean }[]> {
    const backups = new Map<string, { endedOn: number; duration: number; failed: boolean }>();
    for await (const { endedOn, status } of this.reader.endedSince(since))
      if (status.type === 'BACKUP')
        backups.set(status.id, {
          endedOn,
          duration: status.totalTimeMS,
          failed: status.status === 'FAILED',
        });
    return [...backups.values()];
  }

  /** @throws NotFoundException */
  async status(id: string): Promise<DaemonStatus> {
    const status = isId(id) ? await this.reader.status(id) : undefined;
    if (status === undefined) throw noSuchDaemon();
    return status;
  }

  /** One that has ended already stays as it is. @throws NotFoundException */
  async terminate(id: string): Promise<void> {
    if (!isId(id) || !(await this.queue.terminate(id))) throw noSuchDaemon();
  }

  private start(
    { startedBy, key }: Start,
    type: DaemonType,
    archive?: ArchiveRequest,
  ): Promise<DaemonStatus> {
    return key === undefined
      ? this.queue.start(type, startedBy, archive)
      : this.queue.startOnce(key, type, startedBy, archive);
  }

  /** Tables beside the live ones are no part of the repository, or the next backup would hold them too. */
  private keepOutOfRepository(intoSchemas: Record<string, string> = {}): void {
    const inside = Object.values(intoSchemas).filter((name) =>
      this.settings.repository.schemas.includes(name),
    );
    if (inside.length > 0)
      throw new BadRequestException(
        `intoSchemas: ${inside.join(', ')} is in REPOSITORY_SCHEMAS; choose another schema.`,
      );
  }

  /** Only a key of our own bucket goes on from here, never an address that a client chose. */
  private archiveAt(address: string): { key: string; url: string } {
    try {
      const key = archiveKey(address, this.settings.store);
      return { key, url: this.store.url(key) };
    } catch (error) {
      if (error instanceof Failure) throw new BadRequestException(error.sentence);
      throw error;
    }
  }
}

function noSuchDaemon(): NotFoundException {
  return new NotFoundException('There is no daemon of this id.');
}
