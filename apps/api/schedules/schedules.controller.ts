import { Body, Controller, Delete, Get, HttpCode, Param, Post, Put, Query, Req, Res } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { PruningPlanView, ScheduleView } from '#contracts';
import { Access } from '../access/access.decorator.js';
import { callerOf } from '../access/caller.js';
import { Documented } from '../docs/documented.js';
import { nothing, validated } from '../http/validation.js';
import { type KeptArchive, Pruning } from './pruning.js';
import { ScheduleClock } from './schedule-clock.js';
import { scheduleRequest } from './schedule-request.js';
import * as docs from './schedules.docs.js';
import { Schedules } from './schedules.js';

@Controller('repo/v1/schedules')
export class SchedulesController {
  constructor(
    private readonly schedules: Schedules,
    private readonly pruning: Pruning,
    private readonly clock: ScheduleClock,
  ) {}

  @Access({ needs: 'everything', audit: 'schedule.set' })
  @Documented(docs.putSchedule, { body: scheduleRequest })
  @Put(':name')
  async put(
    @Param('name') name: string,
    @Body() body: unknown,
    @Req() request: FastifyRequest,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<ScheduleView> {
    const created = await this.schedules.put(name, validated(scheduleRequest, body), callerOf(request).email);
    void reply.status(created ? 201 : 200);
    return this.schedules.view(name);
  }

  @Access({ needs: 'read' })
  @Documented(docs.listSchedules, { query: nothing })
  @Get()
  async all(@Query() query: unknown): Promise<{ schedules: ScheduleView[] }> {
    validated(nothing, query);
    return { schedules: await this.schedules.views() };
  }

  @Access({ needs: 'read' })
  @Documented(docs.showSchedule, { query: nothing })
  @Get(':name')
  one(@Param('name') name: string, @Query() query?: unknown): Promise<ScheduleView> {
    validated(nothing, query);
    return this.schedules.view(name);
  }

  /** The loss of rows that its backups have found is meant: it deletes archives again. */
  @Access({ needs: 'everything', audit: 'schedule.confirm' })
  @Documented(docs.confirmSchedule, { body: nothing })
  @Post(':name/confirm')
  @HttpCode(200)
  async confirm(@Param('name') name: string, @Body() body: unknown): Promise<ScheduleView> {
    validated(nothing, body ?? {});
    await this.schedules.confirm(name);
    return this.schedules.view(name);
  }

  /** Needs everything, because a run may drill and delete archives. */
  @Access({ needs: 'everything', audit: 'schedule.run' })
  @Documented(docs.runSchedule, { body: nothing })
  @Post(':name/run')
  @HttpCode(202)
  async run(@Param('name') name: string, @Body() body: unknown): Promise<ScheduleView> {
    validated(nothing, body ?? {});
    await this.clock.runNow(name);
    return this.schedules.view(name);
  }

  @Access({ needs: 'everything', audit: 'schedule.delete' })
  @Documented(docs.removeSchedule)
  @Delete(':name')
  @HttpCode(204)
  remove(@Param('name') name: string): Promise<void> {
    return this.schedules.remove(name);
  }

  /** A dry run of the pruning. */
  @Access({ needs: 'read' })
  @Documented(docs.planPruning, { query: nothing })
  @Get(':name/pruning')
  async plan(@Param('name') name: string, @Query() query: unknown): Promise<PruningPlanView> {
    validated(nothing, query);
    const plan = await this.pruning.dryRun(await this.schedules.find(name));
    return {
      keep: plan.keep.map(({ archive, because }) => ({ ...shown(archive), because })),
      delete: plan.delete.map(shown),
    };
  }
}

function shown({ name, createdOn }: KeptArchive): { name: string; createdOn: number } {
  return { name, createdOn };
}
