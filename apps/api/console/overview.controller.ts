import { Controller, Get, Post, Body, Req, Res } from '@nestjs/common';
import { ApiExcludeController } from '@nestjs/swagger';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { DEFAULT_REPOSITORY, type DaemonStatus } from '#contracts';
import { PageAccess } from '../access/access.decorator.js';
import { Archives } from '../archives/archives.js';
import { Checks } from '../checks/checks.js';
import { Daemons } from '../daemons/daemons.js';
import { validated } from '../http/validation.js';
import { Schedules } from '../schedules/schedules.js';
import { acceptedDatabase } from '../workers/workers.controller.js';
import { identityRequest } from '../workers/workers.docs.js';
import { Workers } from '../workers/workers.js';
import { chartDays, chartStart, type Day } from './chart.js';
import { startOf, text, ticked } from './forms.js';
import { Pages, part, redirectTo } from './pages.js';

const LAST_ARCHIVES = 5;
/** Jobs that are shown as running. */
const MOST_RUNNING = 10;

/** The overview, and the button that starts a backup. */
@ApiExcludeController()
@Controller('admin')
export class OverviewController {
  constructor(
    private readonly pages: Pages,
    private readonly daemons: Daemons,
    private readonly archives: Archives,
    private readonly schedules: Schedules,
    private readonly workers: Workers,
    private readonly checks: Checks,
  ) {}

  @PageAccess()
  @Get()
  async show(@Req() request: FastifyRequest, @Res() reply: FastifyReply): Promise<void> {
    const [running, days, last, schedules, workers, check] = await Promise.all([
      part(this.running()),
      part(this.days()),
      part(this.archives.list(LAST_ARCHIVES, 0)),
      part(this.schedules.views()),
      part(this.workers.list()),
      part(this.checks.newest(DEFAULT_REPOSITORY)),
    ]);
    this.pages.show(request, reply, {
      view: 'overview',
      title: 'Overview',
      section: 'overview',
      data: { running, days, last, schedules, workers, check, repository: DEFAULT_REPOSITORY },
    });
  }

  @PageAccess({ audit: 'backup.start' })
  @Post('backup')
  async startBackup(
    @Body() body: unknown,
    @Req() request: FastifyRequest,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    const { id } = await this.daemons.startBackup(startOf(request, body), {});
    request.made = id;
    redirectTo(reply, `/admin/daemons/${id}`, 'backup-started');
  }

  /** Lets the workers of another database take jobs. */
  @PageAccess({ audit: 'repository.accept', subject: acceptedDatabase })
  @Post('repository/identity')
  async accept(@Body() body: unknown, @Res() reply: FastifyReply): Promise<void> {
    const { moved, ...identity } = validated(identityRequest, {
      systemIdentifier: text(body, 'systemIdentifier'),
      databaseOid: Number(text(body, 'databaseOid')),
      databaseName: text(body, 'databaseName'),
      moved: ticked(body, 'moved'),
    });
    await this.workers.accept(identity, moved);
    redirectTo(reply, '/admin', 'database-accepted');
  }

  private async running(): Promise<{ daemons: DaemonStatus[]; more: number }> {
    const some = { limit: MOST_RUNNING, offset: 0 };
    // In this order: a job that begins in between is in both lists, and not in neither.
    const waiting = await this.daemons.list({ status: 'STARTED', ...some });
    const running = await this.daemons.list({ status: 'IN_PROGRESS', ...some });
    const runs = new Set(running.daemons.map(({ id }) => id));
    const waits = waiting.daemons.filter(({ id }) => !runs.has(id));
    const daemons = [...running.daemons, ...waits].slice(0, MOST_RUNNING);
    const begun = waiting.daemons.length - waits.length;
    return { daemons, more: running.total + waiting.total - begun - daemons.length };
  }

  private async days(): Promise<Day[]> {
    const now = Date.now();
    const [archives, backups] = await Promise.all([
      this.archives.writtenSince(chartStart(now)),
      this.daemons.backupsSince(chartStart(now)),
    ]);
    return chartDays(now, archives, backups);
  }
}
