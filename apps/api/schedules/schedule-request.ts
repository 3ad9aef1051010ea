import { z } from 'zod';
import { AFTER_BACKUP, type ScheduleRequest } from '#contracts';
import { patternFault, timeZoneFault } from './cron.js';

const count = z.int().min(0).max(10_000).optional();
/** The settings of a schedule. */
export const scheduleRequest = z.strictObject({
  pattern: z.string('the pattern must be a text').max(200).superRefine(faultIn(patternFault)),
  timeZone: z.string('the time zone must be a text').default('UTC').superRefine(faultIn(timeZoneFault)),
  then: z.enum(AFTER_BACKUP, `must be one of ${AFTER_BACKUP.join(', ')}`).default('verify'),
  retention: z
    .strictObject({ last: count, daily: count, weekly: count, monthly: count, yearly: count })
    .refine(
      (counts) => Object.values(counts).some((kept = 0) => kept > 0),
      'this keeps nothing: set at least one count above 0, or null to keep everything',
    )
    .nullable()
    .default(null),
  enabled: z.boolean().default(true),
}) satisfies z.ZodType<ScheduleRequest>;

function faultIn(find: (text: string) => string | undefined) {
  return (text: string, context: z.core.$RefinementCtx) => {
    const fault = find(text);
    if (fault !== undefined) context.addIssue({ code: 'custom', message: fault });
  };
}
