import { BadRequestException, Inject, Injectable, NotFoundException } from '@nestjs/common';
import type { FastifyRequest } from 'fastify';
import { type Scope, SETTINGS, type Settings } from '#config';
import { Failure, levelOf } from '#common';
import { DEFAULT_REPOSITORY, type DaemonStatus, type DaemonType } from '#contracts';
import {
  type DaemonFilter,
  DaemonQueue,
  DaemonReader,
  isCheckId,
  type JobWork,
  KeptDatabases,
  withFullText,
} from '#queue';
import { archiveKey, ObjectStore } from '#storage';
import { callerOf, mayReadRows } from '../access/caller.js';
import { LostRows } from '../schedules/lost-rows.js';
import { isId } from '../http/validation.js';
import { Repositories } from '../repositories/repositories.js';
import type { BackupRequest, RestoreRequest, VerifyRequest } from './daemon-requests.js';
import { WaitingJobs } from './waiting-jobs.js';

/** The start of a job. */
export interface Start {
  /** An administrator's email. */
  startedBy: string;
  /** The idempotency key: several starts of one account with the same key start one job. */
  key?: string | undefined;
}

/** Starts, shows and terminates jobs. All methods throw QueueUnavailable. */
@Injectable()
export class Daemons {
  constructor(
    private readonly queue: DaemonQueue,
    private readonly reader: DaemonReader,
    private readonly store: ObjectStore,
    private readonly lostRows: LostRows,
    private readonly kept: KeptDatabases,
    private readonly waiting: WaitingJobs,
    private readonly repositories: Repositories,
    @Inject(SETTINGS) private readonly settings: Settings,
  ) {}

  /** @throws BadRequestException; Failure IDEMPOTENCY_KEY_REUSED, IDEMPOTENCY_KEY_BUSY */
  async startBackup(start: Start, { repository = DEFAULT_REPOSITORY }: BackupRequest): Promise<DaemonStatus> {
    return this.start(start, 'BACKUP', {
      ...(await this.workOn(repository)),
      confirmedKey: await this.lostRows.newestConfirmedKey(repository),
    });
  }

  /** @throws BadRequestException; Failure IDEMPOTENCY_KEY_REUSED, IDEMPOTENCY_KEY_BUSY */
  async startRestore(start: Start, request: RestoreRequest): Promise<DaemonStatus> {
    return this.start(start, 'RESTORE', await this.restoreOf(request));
  }

  /** Starts a preview of a restore. @throws BadRequestException */
  async startRestorePlan(startedBy: string, request: RestoreRequest): Promise<DaemonStatus> {
    return this.queue.startCheck(startedBy, await this.restoreOf(request));
  }

  /** Starts a check. @throws BadRequestException */
  async startCheck(startedBy: string, repository: string): Promise<DaemonStatus> {
    return this.queue.startCheck(startedBy, await this.workOn(repository));
  }

  /** @throws BadRequestException; Failure IDEMPOTENCY_KEY_REUSED, IDEMPOTENCY_KEY_BUSY */
  async startVerify(
    start: Start,
    { url, repository, level, restoreDrill, ...options }: VerifyRequest,
  ): Promise<DaemonStatus> {
    const archive = this.archiveAt(url);
    const work = await this.workOn(repository ?? (await this.repositoryOf(archive.key)));
    const request = { ...archive, ...options, level: levelOf({ level, restoreDrill }) };
    return this.start(start, 'VERIFY', { ...work, archive: request });
  }

  /**
   * Drops a database that a swap has kept.
   * @throws NotFoundException unless a swap of this installation has kept a database of this name
   */
  async startDrop(startedBy: string, name: string): Promise<DaemonStatus> {
    const record = await this.kept.find(name);
    if (record === undefined)
      throw new NotFoundException('No swap of this installation keeps a database of this name.');
    const work = await this.workOn(record.repository);
    return this.queue.start('DROP', startedBy, { ...work, database: record.name });
  }

  async list(filter: DaemonFilter): Promise<{ daemons: DaemonStatus[]; total: number }> {
    const { daemons, total } = await this.reader.list(filter);
    return { daemons: await Promise.all(daemons.map((daemon) => this.waiting.explained(daemon))), total };
  }

  /** The backups that have ended since a time, unordered, with their durations. Milliseconds. */
  async backupsSince(
    since: number,
    repository?: string,
  ): Promise<{ endedOn: number; duration: number; failed: boolean }[]> {
    const backups = new Map<string, { endedOn: number; duration: number; failed: boolean }>();
    for await (const { endedOn, status } of this.reader.endedSince(since))
      if (
        status.type === 'BACKUP' &&
        (repository === undefined || (status.repository ?? DEFAULT_REPOSITORY) === repository)
      )
        backups.set(status.id, {
          endedOn,
          duration: status.totalTimeMS,
          failed: status.status === 'FAILED',
        });
    return [...backups.values()];
  }

  /** @throws NotFoundException */
  async status(id: string): Promise<DaemonStatus> {
    const status = isJobId(id) ? await this.reader.status(id) : undefined;
    if (status === undefined) throw noSuchDaemon();
    return this.waiting.explained(status);
  }

  /** Terminates a job. A job that has ended stays unchanged. @throws NotFoundException */
  async terminate(id: string): Promise<void> {
    if (!isJobId(id) || !(await this.queue.terminate(id))) throw noSuchDaemon();
  }

  private start({ startedBy, key }: Start, type: DaemonType, work: JobWork): Promise<DaemonStatus> {
    return key === undefined
      ? this.queue.start(type, startedBy, work)
      : this.queue.startOnce(key, type, startedBy, work);
  }

  private async restoreOf({ url, repository, ...options }: RestoreRequest): Promise<JobWork> {
    const archive = this.archiveAt(url);
    const work = await this.workOn(repository ?? (await this.repositoryOf(archive.key)));
    keepOut(options.intoSchemas, (work.repository ?? this.settings.repository).scope);
    return { ...work, archive: { ...archive, ...options } };
  }

  /** @throws BadRequestException if there is no such repository */
  private async workOn(name: string): Promise<Pick<JobWork, 'repository'>> {
    const repository = await this.repositories.forJob(name);
    return repository === undefined ? {} : { repository };
  }

  private async repositoryOf(key: string): Promise<string> {
    return (await this.repositories.folders()).repositoryOf(key);
  }

  /** Turns an address into a key of our bucket, so that no worker fetches an address of a client's choice. */
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

/**
 * Rejects schemas that the repository lists: the next backup would include the new tables. If it has all schemas, that
 * cannot be helped, and the restore itself rejects the schemas that the rows come from. @throws BadRequestException
 */
function keepOut(intoSchemas: Record<string, string> = {}, { schemas }: Pick<Scope, 'schemas'>): void {
  if (schemas === '*') return;
  const inside = Object.values(intoSchemas).filter((name) => schemas.includes(name));
  if (inside.length > 0)
    throw new BadRequestException(
      `intoSchemas: ${inside.join(', ')} is in the schemas of the repository. Choose another schema.`,
    );
}

/** Adds PostgreSQL's full messages to a status, which may contain rows, if the caller may read rows. */
export function shownTo(request: FastifyRequest, status: DaemonStatus): DaemonStatus {
  return mayReadRows(callerOf(request)) ? withFullText(status) : status;
}

function isJobId(id: string): boolean {
  return isId(id) || isCheckId(id);
}

function noSuchDaemon(): NotFoundException {
  return new NotFoundException('There is no daemon of this id.');
}
