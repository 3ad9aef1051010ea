import {
  BadRequestException,
  Body,
  Controller,
  Delete,
  Get,
  HttpCode,
  NotFoundException,
  Param,
  Put,
  Query,
  Req,
  Res,
  ServiceUnavailableException,
} from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';
import { AFTER_BACKUP, Failure, type ScheduleView } from '#contracts';
import { Documented } from '../docs/documented.js';
import { validated } from '../http/validated.js';
import { patternFault, timeZoneFault } from './cron.js';
import { type KeptArchive, Pruning } from './pruning.js';
import * as docs from './schedules.docs.js';
import { Schedules } from './schedules.js';

const NAME = /^[A-Za-z0-9._-]{1,64}$/;

/** How long the bucket may take for a dry run. */
const PLANNED_WITHIN_MS = 30_000;

const nothing = z.strictObject({});
const count = z.int().min(0).max(10_000).optional();
const scheduleRequest = z.strictObject({
  pattern: z.string('the pattern must be a text').max(200).superRefine(faultIn(patternFault)),
  timeZone: z.string('the time zone must be a text').default('UTC').superRefine(faultIn(timeZoneFault)),
  then: z.enum(AFTER_BACKUP, `must be one of ${AFTER_BACKUP.join(', ')}`).default('verify'),
  retention: z
    .strictObject({ last: count, daily: count, weekly: count, monthly: count, yearly: count })
    .refine(
      (counts) => Object.values(counts).some((places = 0) => places > 0),
      'this keeps nothing: give one count above 0, or null to keep everything',
    )
    .nullable()
    .default(null),
  enabled: z.boolean().default(true),
});

function faultIn(find: (text: string) => string | undefined) {
  return (text: string, context: z.core.$RefinementCtx) => {
    const fault = find(text);
    if (fault !== undefined) context.addIssue({ code: 'custom', message: fault });
  };
}

@Controller('repo/v1/schedules')
export class SchedulesController {
  constructor(
    private readonly schedules: Schedules,
    private readonly pruning: Pruning,
  ) {}

  @Documented(docs.putSchedule, { body: scheduleRequest })
  @Put(':name')
  async put(
    @Param('name') name: string,
    @Body() body: unknown,
    @Req() request: FastifyRequest,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<ScheduleView> {
    if (!NAME.test(name))
      throw new BadRequestException(
        'The name must have 1 to 64 letters, digits, dots, hyphens or underscores.',
      );
    const created = await this.schedules.put(
      name,
      validated(scheduleRequest, body),
      request.account?.email ?? '',
    );
    void reply.status(created ? 201 : 200);
    return this.one(name);
  }

  @Documented(docs.listSchedules, { query: nothing })
  @Get()
  async all(@Query() query: unknown): Promise<{ schedules: ScheduleView[] }> {
    validated(nothing, query);
    return { schedules: await this.schedules.views() };
  }

  @Documented(docs.showSchedule, { query: nothing })
  @Get(':name')
  async one(@Param('name') name: string, @Query() query?: unknown): Promise<ScheduleView> {
    validated(nothing, query);
    expectPossible(name);
    const [schedule] = await this.schedules.views(name);
    if (schedule === undefined) throw noSuchSchedule();
    return schedule;
  }

  @Documented(docs.removeSchedule)
  @Delete(':name')
  @HttpCode(204)
  async remove(@Param('name') name: string): Promise<void> {
    expectPossible(name);
    if (!(await this.schedules.remove(name))) throw noSuchSchedule();
  }

  /** The dry run. */
  @Documented(docs.planPruning, { query: nothing })
  @Get(':name/pruning')
  async plan(@Param('name') name: string, @Query() query: unknown) {
    validated(nothing, query);
    expectPossible(name);
    const schedule = await this.schedules.find(name);
    if (schedule === null) throw noSuchSchedule();
    try {
      const plan = await this.pruning.plan(schedule, AbortSignal.timeout(PLANNED_WITHIN_MS));
      return {
        keep: plan.keep.map(({ archive, because }) => ({ ...shown(archive), because })),
        delete: plan.delete.map(shown),
      };
    } catch (error) {
      if (error instanceof Failure && error.code.startsWith('STORE_'))
        throw new ServiceUnavailableException(error.sentence);
      throw error;
    }
  }
}

function shown({ name, createdOn }: KeptArchive): { name: string; createdOn: number } {
  return { name, createdOn };
}

/** No schedule has another name, and not every text can be looked up. @throws NotFoundException */
function expectPossible(name: string): void {
  if (!NAME.test(name)) throw noSuchSchedule();
}

function noSuchSchedule(): NotFoundException {
  return new NotFoundException('There is no schedule of this name.');
}
