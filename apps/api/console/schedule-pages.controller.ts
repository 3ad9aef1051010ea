import { Body, ConflictException, Controller, Get, Param, Post, Query, Req, Res } from '@nestjs/common';
import { ApiExcludeController } from '@nestjs/swagger';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { AFTER_BACKUP, DEFAULT_REPOSITORY } from '#contracts';
import { PageAccess } from '../access/access.decorator.js';
import { callerOf } from '../access/caller.js';
import { validated } from '../http/validation.js';
import { Repositories } from '../repositories/repositories.js';
import { repositoryFilter } from '../repositories/repository-request.js';
import { nextTimes } from '../schedules/cron.js';
import { Pruning } from '../schedules/pruning.js';
import { scheduleRequest } from '../schedules/schedule-request.js';
import { Schedules } from '../schedules/schedules.js';
import { filled, text, ticked } from './forms.js';
import { type Fault, faultOf, Pages, redirectTo } from './pages.js';
import { part } from './words.js';

/** The runs that a preview shows. */
const PREVIEWED = 3;

const COUNTS = ['last', 'daily', 'weekly', 'monthly', 'yearly'] as const;

/** The texts in the form of a schedule. */
interface ScheduleForm {
  name: string;
  pattern: string;
  timeZone: string;
  then: string;
  repository: string;
  enabled: boolean;
  retention: Record<string, string>;
}

/** Stands for the step that recovers the archive into another repository. */
const RECOVER = 'recover';

const NEW: ScheduleForm = {
  name: '',
  pattern: '30 2 * * *',
  timeZone: 'UTC',
  then: 'READ',
  repository: DEFAULT_REPOSITORY,
  enabled: true,
  retention: { last: '3', daily: '7', weekly: '5', monthly: '12', yearly: '' },
};

/** The schedules: list, creation, change, dry run and deletion. */
@ApiExcludeController()
@Controller('admin')
export class SchedulePagesController {
  constructor(
    private readonly pages: Pages,
    private readonly schedules: Schedules,
    private readonly pruning: Pruning,
    private readonly repositories: Repositories,
  ) {}

  @PageAccess()
  @Get('schedules')
  async list(
    @Query() query: unknown,
    @Req() request: FastifyRequest,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    const { repository } = validated(repositoryFilter, filled(query));
    this.pages.show(request, reply, {
      view: 'schedules',
      title: 'Schedules',
      section: 'schedules',
      data: {
        schedules: await this.schedules.views({ repository }),
        names: await this.repositories.names(),
        path: '/admin/schedules',
      },
    });
  }

  @PageAccess()
  @Get('new-schedule')
  askForNew(
    @Query() query: unknown,
    @Req() request: FastifyRequest,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    const { repository = DEFAULT_REPOSITORY } = validated(repositoryFilter, filled(query));
    return this.newForm(request, reply, { ...NEW, repository });
  }

  /** Shows the form again with the next runs, and changes nothing. */
  @PageAccess()
  @Post('schedule-preview')
  preview(@Body() body: unknown, @Req() request: FastifyRequest, @Res() reply: FastifyReply): Promise<void> {
    const existing = text(body, 'existing');
    return existing === ''
      ? this.newForm(request, reply, { ...formOf(body), name: text(body, 'name') })
      : this.form(request, reply, existing, { ...formOf(body), name: existing });
  }

  @PageAccess({ audit: 'schedule.set' })
  @Post('schedules')
  async create(
    @Body() body: unknown,
    @Req() request: FastifyRequest,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    const name = text(body, 'name');
    try {
      const wanted = validated(scheduleRequest, requestOf(body));
      // put() would change the existing schedule, which a form for a new one must not do.
      if ((await this.schedules.views({ name })).length > 0)
        throw new ConflictException(
          'There is a schedule of this name. Choose another name, or change that one.',
        );
      await this.schedules.put(name, wanted, callerOf(request).email);
    } catch (error) {
      return this.newForm(request, reply, { ...formOf(body), name }, faultOf(error));
    }
    redirectTo(reply, '/admin/schedules', 'schedule-saved');
  }

  @PageAccess()
  @Get('schedules/:name')
  async show(
    @Param('name') name: string,
    @Req() request: FastifyRequest,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    const { retention, then, ...schedule } = await this.schedules.view(name);
    const counts = Object.entries(retention ?? {}).map(([rule, kept]) => [rule, String(kept)]);
    const shown = {
      ...schedule,
      then: typeof then === 'string' ? then : RECOVER,
      retention: Object.fromEntries(counts) as Record<string, string>,
    };
    return this.form(request, reply, name, shown);
  }

  @PageAccess({ audit: 'schedule.set' })
  @Post('schedules/:name')
  async change(
    @Param('name') name: string,
    @Body() body: unknown,
    @Req() request: FastifyRequest,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    await this.schedules.find(name);
    try {
      await this.schedules.put(name, validated(scheduleRequest, requestOf(body)), callerOf(request).email);
    } catch (error) {
      return this.form(request, reply, name, { ...formOf(body), name }, faultOf(error));
    }
    redirectTo(reply, '/admin/schedules', 'schedule-saved');
  }

  /** A dry run of the pruning. */
  @PageAccess()
  @Get('schedules/:name/pruning')
  async plan(
    @Param('name') name: string,
    @Req() request: FastifyRequest,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    this.pages.show(request, reply, {
      view: 'pruning',
      title: `What ${name} would delete`,
      section: 'schedules',
      data: { name, plan: await this.pruning.dryRun(await this.schedules.find(name)) },
    });
  }

  @PageAccess({ audit: 'schedule.confirm' })
  @Post('schedules/:name/confirm')
  async confirm(@Param('name') name: string, @Res() reply: FastifyReply): Promise<void> {
    await this.schedules.confirm(name);
    redirectTo(reply, `/admin/schedules/${part(name)}`, 'loss-confirmed');
  }

  @PageAccess()
  @Get('schedules/:name/delete')
  async askToDelete(
    @Param('name') name: string,
    @Req() request: FastifyRequest,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    this.pages.show(request, reply, {
      view: 'delete-schedule',
      title: `Delete ${name}`,
      section: 'schedules',
      data: { schedule: await this.schedules.view(name) },
    });
  }

  @PageAccess({ audit: 'schedule.delete' })
  @Post('schedules/:name/delete')
  async delete(@Param('name') name: string, @Res() reply: FastifyReply): Promise<void> {
    await this.schedules.remove(name);
    redirectTo(reply, '/admin/schedules', 'schedule-deleted');
  }

  private async newForm(
    request: FastifyRequest,
    reply: FastifyReply,
    given: ScheduleForm,
    fault?: Fault,
  ): Promise<void> {
    this.pages.show(request, reply, {
      view: 'new-schedule',
      title: 'New schedule',
      section: 'schedules',
      data: await this.formData(given),
      fault,
    });
  }

  private async form(
    request: FastifyRequest,
    reply: FastifyReply,
    name: string,
    given: ScheduleForm,
    fault?: Fault,
  ): Promise<void> {
    this.pages.show(request, reply, {
      view: 'schedule',
      title: name,
      section: 'schedules',
      data: { schedule: await this.schedules.view(name), ...(await this.formData(given)) },
      fault,
    });
  }

  private async formData(given: ScheduleForm): Promise<object> {
    const names = await this.repositories.names();
    const known = Intl.supportedValuesOf('timeZone');
    const parsed = scheduleRequest.pick({ pattern: true, timeZone: true }).safeParse({
      pattern: given.pattern,
      timeZone: given.timeZone,
    });
    return {
      given,
      repositories: names.filter(({ isDeleted }) => !isDeleted).map(({ name }) => name),
      zones: [...new Set(['UTC', given.timeZone, ...known])],
      // A fault of the pattern is said at its field.
      nextRuns: parsed.success ? nextTimes(parsed.data, Date.now(), PREVIEWED) : [],
      ...{ counts: COUNTS, thens: thensOf(given) },
    };
  }
}

/** The steps after a backup that the form offers. Only the API sets the last one. */
function thensOf({ then }: ScheduleForm): readonly string[] {
  return then === RECOVER ? [...AFTER_BACKUP, RECOVER] : AFTER_BACKUP;
}

/** The texts of a submitted form. */
function formOf(body: unknown): Omit<ScheduleForm, 'name'> {
  return {
    pattern: text(body, 'pattern'),
    timeZone: text(body, 'timeZone'),
    then: text(body, 'then'),
    repository: text(body, 'repository') || DEFAULT_REPOSITORY,
    enabled: ticked(body, 'enabled'),
    retention: Object.fromEntries(COUNTS.map((name) => [name, text(body, name)])),
  };
}

/** The request to the API. Empty counts are omitted; without any count, everything is kept. */
function requestOf(body: unknown): Record<string, unknown> {
  const { retention, then, ...form } = formOf(body);
  const counts = Object.entries(retention)
    .filter(([, kept]) => kept.trim() !== '')
    .map(([name, kept]) => [name, Number(kept)]);
  // Without it, the schedule keeps its own.
  const step = then === RECOVER ? {} : { then };
  return { ...form, ...step, retention: counts.length > 0 ? Object.fromEntries(counts) : null };
}
