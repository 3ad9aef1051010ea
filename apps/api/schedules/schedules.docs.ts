import { z } from 'zod';
import { AFTER_BACKUP, type ScheduleView } from '#contracts';
import { answer, count, text, time } from '../docs/answers.js';
import type { RouteDescription } from '../docs/documented.js';

const places = count.exactOptional();
const schedule = answer(
  'Schedule',
  z.strictObject({
    name: text,
    pattern: text.describe("cron's, of five fields, or of six with seconds first."),
    timeZone: text,
    then: z.enum(AFTER_BACKUP).describe('What a run does after its backup.'),
    retention: z
      .strictObject({ last: places, daily: places, weekly: places, monthly: places, yearly: places })
      .nullable()
      .describe('How many archives are kept; null keeps everything.'),
    enabled: z.boolean(),
    createdBy: text,
    createdOn: time,
    nextRunOn: time.nullable().describe('Null while it is not enabled.'),
    lastRun: z
      .strictObject({
        startedOn: time,
        daemonId: text.nullable().describe("The backup's; null until it is started."),
        status: z.enum(['IN_PROGRESS', 'COMPLETED', 'FAILED']),
        errorMessage: text.nullable(),
      })
      .nullable(),
    lastCompletedOn: time.nullable(),
    lastVerifiedOn: time.nullable(),
  }) satisfies z.ZodType<ScheduleView>,
);
const schedules = answer('Schedules', z.strictObject({ schedules: z.array(schedule) }));
const kept = z.strictObject({ name: text, createdOn: time });
const plan = answer(
  'PruningPlan',
  z.strictObject({
    keep: z.array(kept.extend({ because: z.array(text) })),
    delete: z.array(kept),
  }),
);

const request = {
  pattern: '30 2 * * *',
  timeZone: 'Europe/Berlin',
  then: 'verify',
  retention: { last: 3, daily: 7, weekly: 5, monthly: 12, yearly: 3 },
};
const nightly = {
  name: 'nightly',
  ...request,
  enabled: true,
  createdBy: 'admin@example.org',
  createdOn: 1796025600000,
  nextRunOn: 1796088600000,
  lastRun: null,
  lastCompletedOn: null,
  lastVerifiedOn: null,
};
const path = { name: 'nightly' };
const MISSING = { 404: 'There is no schedule of this name.' };

export const putSchedule: RouteDescription = {
  name: 'putSchedule',
  summary: 'Makes a schedule, or changes the one of this name',
  path,
  example: request,
  answers: {
    200: { what: 'It is changed.', schema: schedule, example: nightly },
    201: { what: 'It is new.', schema: schedule, example: nightly },
  },
};

export const listSchedules: RouteDescription = {
  name: 'listSchedules',
  summary: 'All schedules, by name',
  answers: { 200: { what: 'The schedules.', schema: schedules, example: { schedules: [nightly] } } },
};

export const showSchedule: RouteDescription = {
  name: 'showSchedule',
  summary: 'One schedule',
  path,
  answers: { 200: { what: 'The schedule.', schema: schedule, example: nightly } },
  errors: MISSING,
};

export const removeSchedule: RouteDescription = {
  name: 'removeSchedule',
  summary: 'Removes a schedule; its archives stay',
  path,
  answers: { 204: { what: 'It is removed.' } },
  errors: MISSING,
};

export const planPruning: RouteDescription = {
  name: 'planPruning',
  summary: 'What the retention would delete now, and why the others are kept',
  path,
  answers: {
    200: {
      what: 'The plan, newest first.',
      schema: plan,
      example: {
        keep: [
          { name: 'BackupDaemonJob9-1.zip', createdOn: 1796088600000, because: ['last', 'daily 2026-11-30'] },
        ],
        delete: [{ name: 'BackupDaemonJob1-2.zip', createdOn: 1795342797368 }],
      },
    },
  },
  errors: MISSING,
};
