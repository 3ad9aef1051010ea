import { Body, Controller, Get, Post, Query, Req, Res } from '@nestjs/common';
import { ApiExcludeController } from '@nestjs/swagger';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { DEFAULT_REPOSITORY, type DaemonStatus } from '#contracts';
import { PageAccess } from '../access/access.decorator.js';
import { ArchiveSums } from '../archives/archive-sums.js';
import { Archives } from '../archives/archives.js';
import { Checks } from '../checks/checks.js';
import { backupRequest } from '../daemons/daemon-requests.js';
import { Daemons } from '../daemons/daemons.js';
import { validated } from '../http/validation.js';
import { Repositories } from '../repositories/repositories.js';
import { repositoryFilter } from '../repositories/repository-request.js';
import { Schedules } from '../schedules/schedules.js';
import { acceptedDatabase } from '../workers/workers.controller.js';
import { identityRequest } from '../workers/workers.docs.js';
import { Workers } from '../workers/workers.js';
import { chartDays, chartStart, type Day } from './chart.js';
import { filled, startOf, text, ticked } from './forms.js';
import { Pages, part, redirectTo } from './pages.js';
import { FORECAST_DAYS, standings, storageOf } from './standing.js';

const LAST_ARCHIVES = 5;
/** Rows of the tables: as many as lists have. */
const SHOWN = 20;
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
    private readonly sums: ArchiveSums,
    private readonly schedules: Schedules,
    private readonly repositories: Repositories,
    private readonly workers: Workers,
    private readonly checks: Checks,
  ) {}

  @PageAccess()
  @Get()
  async show(
    @Query() query: unknown,
    @Req() request: FastifyRequest,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    const { repository } = validated(repositoryFilter, filled(query));
    const [names, running, days, last, schedules, standing, workers, check] = await Promise.all([
      this.repositories.names(),
      part(this.running(repository)),
      part(this.days(repository)),
      part(this.archives.list(LAST_ARCHIVES, 0, repository)),
      part(this.schedules.views({ repository })),
      part(this.standing(repository)),
      part(this.workers.list()),
      part(this.checks.newest(repository ?? DEFAULT_REPOSITORY)),
    ]);
    this.pages.show(request, reply, {
      view: 'overview',
      title: 'Overview',
      section: 'overview',
      data: {
        ...{ names, path: '/admin', running, days, last, schedules, standing, workers, check },
        checked: repository ?? DEFAULT_REPOSITORY,
      },
    });
  }

  @PageAccess({ audit: 'backup.start' })
  @Post('backup')
  async startBackup(
    @Body() body: unknown,
    @Req() request: FastifyRequest,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    const { repository = DEFAULT_REPOSITORY } = validated(backupRequest, {
      repository: text(body, 'repository') || undefined,
    });
    const { startedBy, key } = startOf(request, body);
    // A page has a form for each repository, and one key.
    const { id } = await this.daemons.startBackup({ startedBy, key: `${key}-${repository}` }, { repository });
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

  private async running(repository?: string): Promise<{ daemons: DaemonStatus[]; more: number }> {
    const some = { repository, limit: MOST_RUNNING, offset: 0 };
    // In this order: a job that begins in between is in both lists, and not in neither.
    const waiting = await this.daemons.list({ status: 'STARTED', ...some });
    const running = await this.daemons.list({ status: 'IN_PROGRESS', ...some });
    const runs = new Set(running.daemons.map(({ id }) => id));
    const waits = waiting.daemons.filter(({ id }) => !runs.has(id));
    const daemons = [...running.daemons, ...waits].slice(0, MOST_RUNNING);
    const begun = waiting.daemons.length - waits.length;
    return { daemons, more: running.total + waiting.total - begun - daemons.length };
  }

  /** How the repositories stand, and the storage that they use. */
  private async standing(repository?: string): Promise<object> {
    const [names, schedules, archives, sums] = await Promise.all([
      this.repositories.names(),
      this.schedules.views({ repository }),
      this.sums.byRepository(),
      this.sums.bySchedule(),
    ]);
    const shown = names.filter(({ name, isDeleted }) =>
      repository === undefined ? !isDeleted : name === repository,
    );
    const all = standings(
      shown.map(({ name }) => name),
      archives,
      schedules,
    );
    const storage = repository === undefined ? storageOf(sums, schedules) : [];
    return {
      repositories: all.slice(0, SHOWN),
      more: Math.max(0, all.length - SHOWN),
      storage: storage.slice(0, SHOWN),
      bytes: storage.reduce((sum, { bytes }) => sum + bytes, 0),
      forecast: storage.reduce((sum, { forecast }) => sum + forecast, 0),
      forecastDays: FORECAST_DAYS,
    };
  }

  private async days(repository?: string): Promise<Day[]> {
    const now = Date.now();
    const [archives, backups] = await Promise.all([
      this.archives.writtenSince(chartStart(now), repository),
      this.daemons.backupsSince(chartStart(now), repository),
    ]);
    return chartDays(now, archives, backups);
  }
}
