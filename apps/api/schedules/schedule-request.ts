import type { z } from 'zod';
import { scheduleSettings } from '#contracts/schemas';
import { repositoryName } from '../repositories/repository-request.js';
import { patternFault, timeZoneFault } from './cron.js';

const { pattern, timeZone, repository, retention, enabled } = scheduleSettings.shape;

/** The settings of a schedule, with their checks and defaults. */
export const scheduleRequest = scheduleSettings.extend({
  pattern: pattern.superRefine(faultIn(patternFault)),
  timeZone: timeZone.default('UTC').superRefine(faultIn(timeZoneFault)),
  repository: repository.pipe(repositoryName.optional()),
  retention: retention
    .refine(
      (counts) => counts === null || Object.values(counts).some((kept = 0) => kept > 0),
      'this keeps nothing: set at least one count above 0, or null to keep everything',
    )
    .default(null),
  enabled: enabled.default(true),
});

function faultIn(find: (text: string) => string | undefined) {
  return (text: string, context: z.core.$RefinementCtx) => {
    const fault = find(text);
    if (fault !== undefined) context.addIssue({ code: 'custom', message: fault });
  };
}
