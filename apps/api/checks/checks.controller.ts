import { Body, Controller, Get, Post, Query, Req, Res } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';
import { DEFAULT_REPOSITORY, type DaemonStatus, type RepositoryCheck, type RestorePreview } from '#contracts';
import { Access } from '../access/access.decorator.js';
import { callerOf } from '../access/caller.js';
import { restoreRequest } from '../daemons/daemon-requests.js';
import { Documented } from '../docs/documented.js';
import { validated } from '../http/validation.js';
import { repositoryName } from '../repositories/repository-request.js';
import * as docs from './checks.docs.js';
import { Checks, neverChecked } from './checks.js';

const checkRequest = z.strictObject({ repository: repositoryName.default(DEFAULT_REPOSITORY) });

/** Checks of repositories and previews of restores. */
@Controller('repo/v1')
export class ChecksController {
  constructor(private readonly checks: Checks) {}

  @Access({ needs: 'start', audit: 'check.start' })
  @Documented(docs.check, { body: checkRequest })
  @Post('check')
  async check(
    @Body() body: unknown,
    @Req() request: FastifyRequest,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<RepositoryCheck | DaemonStatus> {
    const { repository } = validated(checkRequest, body);
    const status = await this.checks.check(callerOf(request).email, repository);
    return answered(reply, status, status.check);
  }

  @Access({ needs: 'read' })
  @Documented(docs.newestCheck, { query: checkRequest })
  @Get('check')
  async newest(@Query() query: unknown): Promise<RepositoryCheck> {
    const { repository } = validated(checkRequest, query);
    const check = await this.checks.newest(repository);
    if (check === undefined) throw neverChecked(repository);
    return check;
  }

  /** The scope `start` is enough, because it changes nothing. */
  @Access({ needs: 'start', audit: 'restore.plan' })
  @Documented(docs.restorePlan, { body: restoreRequest })
  @Post('restorePlan')
  async restorePlan(
    @Body() body: unknown,
    @Req() request: FastifyRequest,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<RestorePreview | DaemonStatus> {
    const status = await this.checks.restorePlan(callerOf(request).email, validated(restoreRequest, body));
    return answered(reply, status, status.restorePlan);
  }
}

/** The result, or 202 with the status of a job that goes on. */
function answered<Result>(
  reply: FastifyReply,
  status: DaemonStatus,
  result: Result | undefined,
): Result | DaemonStatus {
  void reply.status(result === undefined ? 202 : 200);
  return result ?? status;
}
