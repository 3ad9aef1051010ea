import { z } from 'zod';
import { text, time } from './fields.js';
import { AFTER_BACKUP, FORMER_AFTER_BACKUP, SWAP_OBSTACLES } from './words.js';

const kept = z.int().min(0).max(10_000).optional();
const retention = z.strictObject({ last: kept, daily: kept, weekly: kept, monthly: kept, yearly: kept });

/** The number of archives to keep: the last ones, and the last one of each day, week, month and year. */
export type Retention = z.infer<typeof retention>;

const recoverStep = z.strictObject({
  recoverInto: text.describe('The repository whose database the recovered one replaces.'),
  swap: z.literal(true).describe('Without a swap, each run would leave a database.'),
  accept: z.array(z.enum(SWAP_OBSTACLES)).optional().describe('As for a restore.'),
  createRoles: z.boolean().optional().describe('As for a restore.'),
  noOwner: z.boolean().optional().describe('As for a restore.'),
});

/** The step of a scheduled run that recovers the new archive in place of the database of another repository. */
export type RecoverStep = z.infer<typeof recoverStep>;

/** The shape of a schedule's settings. The API also checks its pattern, time zone and counts. */
export const scheduleSettings = z.strictObject({
  pattern: z
    .string('the pattern must be a text')
    .max(200)
    .describe('A cron pattern of five fields, or of six with seconds first.'),
  timeZone: z.string('the time zone must be a text'),
  then: z
    .union([z.enum([...AFTER_BACKUP, ...FORMER_AFTER_BACKUP]), recoverStep], {
      error: `must be one of ${AFTER_BACKUP.join(', ')}, or {"recoverInto": "…", "swap": true}`,
    })
    .optional()
    .describe(
      'What a run does after its backup: nothing, a verification of this level, or a recover of the new archive in place of the database of another repository. Without it, a new schedule gets `READ`, and an existing one keeps its own. `verify` is an older word for `FIT`, `restoreDrill` for `DRILL`.',
    ),
  repository: z
    .string('the repository is a text')
    .optional()
    .describe(
      'The repository that it backs up. Without it, a new schedule gets `default`, and an existing one keeps its own.',
    ),
  retention: retention.nullable().describe('The numbers of archives to keep; null keeps everything.'),
  enabled: z.boolean(),
});

/** A schedule, as an administrator sets it. */
export type ScheduleRequest = z.infer<typeof scheduleSettings>;

export const schedule = z.strictObject({
  name: text,
  ...scheduleSettings.shape,
  then: z.union([z.enum(AFTER_BACKUP), recoverStep]).describe('What a run does after its backup.'),
  repository: text.describe('The repository that it backs up.'),
  /** An administrator's email. */
  createdBy: text,
  createdOn: time,
  nextRunOn: time.nullable().describe('Null while the schedule is disabled.'),
  lastRun: z
    .strictObject({
      startedOn: time,
      daemonId: text.nullable().describe('The id of the backup; null until it is started.'),
      status: z.enum(['IN_PROGRESS', 'COMPLETED', 'FAILED']),
      /** Why it failed, which archives it could not delete, and whether runs were skipped meanwhile. */
      errorMessage: text.nullable(),
    })
    .nullable(),
  lastCompletedOn: time.nullable(),
  lastVerifiedOn: time.nullable(),
  lostRowsSince: time
    .nullable()
    .describe(
      'Since when its backups have lost rows without a confirmation. Until then it deletes no archives.',
    ),
});

/** A schedule with its state. */
export type ScheduleView = z.infer<typeof schedule>;

const archive = z.strictObject({ name: text, createdOn: time });
export const pruningPlan = z.strictObject({
  keep: z.array(archive.extend({ because: z.array(text) })),
  delete: z.array(archive),
});

/** The archives that the retention of a schedule would keep and delete now. */
export type PruningPlanView = z.infer<typeof pruningPlan>;
