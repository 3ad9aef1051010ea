import { BadGatewayException, Injectable, NotFoundException } from '@nestjs/common';
import { hasEnded, pollUntil } from '#common';
import { DEFAULT_REPOSITORY, type DaemonStatus, type RepositoryCheck } from '#contracts';
import { CheckRecords } from '#queue';
import type { RestoreRequest } from '../daemons/daemon-requests.js';
import { Daemons } from '../daemons/daemons.js';
import { Repositories } from '../repositories/repositories.js';

/** How long a call waits for the worker. Then the caller gets the job's id. */
const WITHIN_MS = 20_000;
const LOOK_EVERY_MS = 100;

/** Checks of repositories and previews of restores, which workers make. All methods throw QueueUnavailable. */
@Injectable()
export class Checks {
  constructor(
    private readonly daemons: Daemons,
    private readonly records: CheckRecords,
    private readonly repositories: Repositories,
  ) {}

  /** Checks a repository. @returns a status that has ended, unless no worker answers in time. @throws BadRequestException */
  async check(startedBy: string, repository = DEFAULT_REPOSITORY): Promise<DaemonStatus> {
    return this.answered(await this.daemons.startCheck(startedBy, repository));
  }

  /** Previews a restore. @returns a status that has ended, unless no worker answers in time. @throws BadRequestException */
  async restorePlan(startedBy: string, request: RestoreRequest): Promise<DaemonStatus> {
    return this.answered(await this.daemons.startRestorePlan(startedBy, request));
  }

  /** The newest check of a repository; undefined if there was none. @throws NotFoundException if there is no such repository */
  async newest(repository: string): Promise<RepositoryCheck | undefined> {
    await this.repositories.view(repository);
    return this.records.newest(repository);
  }

  /** @throws BadGatewayException with the reason of a check that could not be made */
  private async answered({ id }: DaemonStatus): Promise<DaemonStatus> {
    const ended = await pollUntil(
      async () => {
        const status = await this.daemons.status(id);
        return hasEnded(status) ? status : undefined;
      },
      { everyMs: LOOK_EVERY_MS, timeoutMs: WITHIN_MS },
    );
    if (ended === undefined) return this.daemons.status(id);
    if (ended.status === 'FAILED') throw new BadGatewayException(ended.errorMessage);
    return ended;
  }
}

/** The failure of a request for a check that was never made. */
export function neverChecked(repository: string): NotFoundException {
  return new NotFoundException(
    `The repository ${repository} was not checked yet. Check it with POST /repo/v1/check.`,
  );
}
