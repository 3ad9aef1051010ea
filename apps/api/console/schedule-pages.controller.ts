import { Body, ConflictException, Controller, Get, Param, Post, Req, Res } from '@nestjs/common';
import { ApiExcludeController } from '@nestjs/swagger';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { AFTER_BACKUP } from '#contracts';
import { callerOf } from '../auth/access.js';
import { validated } from '../http/validated.js';
import { Pruning } from '../schedules/pruning.js';
import { scheduleRequest } from '../schedules/schedule-request.js';
import { Schedules } from '../schedules/schedules.js';
import { text, ticked } from './forms.js';
import { type Fault, faultOf, leadTo, Pages } from './pages.js';

const COUNTS = ['last', 'daily', 'weekly', 'monthly', 'yearly'] as const;

/** What the form of a schedule shows: texts, as somebody typed them or would. */
interface ScheduleForm {
  name: string;
  pattern: string;
  timeZone: string;
  then: string;
  enabled: boolean;
  retention: Record<string, string>;
}

const NEW: ScheduleForm = {
  name: '',
  pattern: '30 2 * * *',
  timeZone: 'UTC',
  then: 'verify',
  enabled: true,
  retention: { last: '3', daily: '7', weekly: '5', monthly: '12', yearly: '' },
};

/** The schedules: made, changed, tried out and removed. */
@ApiExcludeController()
@Controller('admin')
export class SchedulePagesController {
  constructor(
    private readonly pages: Pages,
    private readonly schedules: Schedules,
    private readonly pruning: Pruning,
  ) {}

  @Get('schedules')
  async list(@Req() request: FastifyRequest, @Res() reply: FastifyReply): Promise<void> {
    this.pages.show(request, reply, {
      view: 'schedules',
      title: 'Schedules',
      section: 'schedules',
      data: { schedules: await this.schedules.views() },
    });
  }

  @Get('new-schedule')
  askForNew(@Req() request: FastifyRequest, @Res() reply: FastifyReply): void {
    this.newForm(request, reply, NEW);
  }

  @Post('schedules')
  async create(
    @Body() body: unknown,
    @Req() request: FastifyRequest,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    const name = text(body, 'name');
    try {
      const wanted = validated(scheduleRequest, requestOf(body));
      // The API's call would change it, which nobody means who fills in an empty form.
      if ((await this.schedules.views(name)).length > 0)
        throw new ConflictException(
          'There is a schedule of this name. Choose another name, or change that one.',
        );
      await this.schedules.put(name, wanted, callerOf(request).email);
    } catch (error) {
      return this.newForm(request, reply, { ...formOf(body), name }, faultOf(error));
    }
    leadTo(reply, '/admin/schedules', 'schedule-saved');
  }

  @Get('schedules/:name')
  async show(
    @Param('name') name: string,
    @Req() request: FastifyRequest,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    const { retention, ...schedule } = await this.schedules.view(name);
    const counts = Object.entries(retention ?? {}).map(([name, places]) => [name, String(places)]);
    const shown = { ...schedule, retention: Object.fromEntries(counts) as Record<string, string> };
    return this.form(request, reply, name, shown);
  }

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
    leadTo(reply, '/admin/schedules', 'schedule-saved');
  }

  /** The dry run. */
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

  @Post('schedules/:name/delete')
  async delete(@Param('name') name: string, @Res() reply: FastifyReply): Promise<void> {
    await this.schedules.remove(name);
    leadTo(reply, '/admin/schedules', 'schedule-deleted');
  }

  private newForm(request: FastifyRequest, reply: FastifyReply, given: ScheduleForm, fault?: Fault): void {
    this.pages.show(request, reply, {
      view: 'new-schedule',
      title: 'New schedule',
      section: 'schedules',
      data: { given, counts: COUNTS, thens: AFTER_BACKUP },
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
      data: { schedule: await this.schedules.view(name), given, counts: COUNTS, thens: AFTER_BACKUP },
      fault,
    });
  }
}

/** A form as it was filled in. */
function formOf(body: unknown): Omit<ScheduleForm, 'name'> {
  return {
    pattern: text(body, 'pattern'),
    timeZone: text(body, 'timeZone'),
    then: text(body, 'then'),
    enabled: ticked(body, 'enabled'),
    retention: Object.fromEntries(COUNTS.map((name) => [name, text(body, name)])),
  };
}

/** What the API would be sent: counts that are empty are not there, and without any everything is kept. */
function requestOf(body: unknown): Record<string, unknown> {
  const { retention, ...form } = formOf(body);
  const counts = Object.entries(retention)
    .filter(([, places]) => places.trim() !== '')
    .map(([name, places]) => [name, Number(places)]);
  return { ...form, retention: counts.length > 0 ? Object.fromEntries(counts) : null };
}
