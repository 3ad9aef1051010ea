import { Controller, Get, Param, Post, Req, Res } from '@nestjs/common';
import { ApiExcludeController } from '@nestjs/swagger';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { hasEnded } from '#common';
import { PageAccess } from '../access/access.decorator.js';
import { callerOf } from '../access/caller.js';
import { Checks } from '../checks/checks.js';
import { Pages, redirectTo } from './pages.js';

/** The newest check of a repository, and the button that makes one. */
@ApiExcludeController()
@Controller('admin/checks')
export class CheckPagesController {
  constructor(
    private readonly pages: Pages,
    private readonly checks: Checks,
  ) {}

  @PageAccess()
  @Get(':repository')
  async show(
    @Param('repository') repository: string,
    @Req() request: FastifyRequest,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    this.pages.show(request, reply, {
      view: 'check',
      title: `Check of ${repository}`,
      section: 'overview',
      data: { repository, check: await this.checks.newest(repository) },
    });
  }

  @PageAccess({ audit: 'check.start' })
  @Post(':repository')
  async check(
    @Param('repository') repository: string,
    @Req() request: FastifyRequest,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    const status = await this.checks.check(callerOf(request).email, repository);
    request.made = status.id;
    if (hasEnded(status)) redirectTo(reply, `/admin/checks/${encodeURIComponent(repository)}`, 'checked');
    else redirectTo(reply, `/admin/daemons/${status.id}`, 'check-waits');
  }
}
