import { z } from 'zod';
import { pruningPlan, schedule as oneSchedule } from '#contracts/schemas';
import { answer } from '../docs/answers.js';
import type { RouteDescription } from '../docs/documented.js';

const schedule = answer('Schedule', oneSchedule);
const schedules = answer('Schedules', z.strictObject({ schedules: z.array(schedule) }));
const plan = answer('PruningPlan', pruningPlan);

const request = {
  pattern: '30 2 * * *',
  timeZone: 'Europe/Berlin',
  then: 'READ',
  retention: { last: 3, daily: 7, weekly: 5, monthly: 12, yearly: 3 },
};
const nightly = {
  name: 'nightly',
  ...request,
  repository: 'default',
  enabled: true,
  createdBy: 'admin@example.org',
  createdOn: 1796025600000,
  nextRunOn: 1796088600000,
  lastRun: null,
  lastCompletedOn: null,
  lastVerifiedOn: null,
  lostRowsSince: null,
};
const path = { name: 'nightly' };
const MISSING = { 404: 'There is no schedule of this name.' };

export const putSchedule: RouteDescription = {
  name: 'putSchedule',
  summary: 'Creates a schedule, or changes the one of this name',
  path,
  example: request,
  answers: {
    200: { what: 'The changed schedule.', schema: schedule, example: nightly },
    201: { what: 'The new schedule.', schema: schedule, example: nightly },
  },
};

export const listSchedules: RouteDescription = {
  name: 'listSchedules',
  summary: 'Lists all schedules, by name',
  answers: { 200: { what: 'The schedules.', schema: schedules, example: { schedules: [nightly] } } },
};

export const showSchedule: RouteDescription = {
  name: 'showSchedule',
  summary: 'Shows one schedule',
  path,
  answers: { 200: { what: 'The schedule.', schema: schedule, example: nightly } },
  errors: MISSING,
};

export const confirmSchedule: RouteDescription = {
  name: 'confirmSchedule',
  summary: 'Confirms that rows are missing on purpose, so that the schedule deletes archives again',
  details:
    'A backup warns if a table or the whole repository has lost more than `SHRINK_WARNING_PERCENT` of its rows since the last archive without such a warning. Its schedule then deletes no archives until somebody confirms the loss. Later backups are compared with the confirmed archive.',
  path,
  example: {},
  answers: { 200: { what: 'The schedule.', schema: schedule, example: nightly } },
  errors: MISSING,
};

export const runSchedule: RouteDescription = {
  name: 'runSchedule',
  summary: 'Begins a run of a schedule now, even of a disabled one',
  details:
    'The run does all that a scheduled one does: backup, verification and pruning. `lastRun` shows its status. A run that becomes due meanwhile is skipped.',
  path,
  example: {},
  answers: { 202: { what: 'The schedule with the new run.', schema: schedule, example: nightly } },
  errors: { ...MISSING, 409: 'The last run of this schedule has not ended.' },
};

export const removeSchedule: RouteDescription = {
  name: 'removeSchedule',
  summary: 'Deletes a schedule, but not its archives',
  path,
  answers: { 204: { what: 'The schedule is deleted.' } },
  errors: MISSING,
};

export const planPruning: RouteDescription = {
  name: 'planPruning',
  summary: 'Shows which archives the retention would delete now, and why it keeps the others',
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
