import { z } from 'zod';
import { count, text } from './fields.js';
import { VERIFICATION_LEVELS } from './words.js';

export const verificationLevel = z.enum(VERIFICATION_LEVELS);

export const verificationProof = z.strictObject({
  level: verificationLevel.describe(
    'READ: every byte matches the manifest. FIT: and a restore in place would be accepted. DRILL: every byte, and a database was recovered from it and equals it.',
  ),
  durationMs: count.nullable().describe('How long it took; null in records of older versions.'),
  proven: z.array(text).describe('Sentences; none in records of older versions.'),
  notProven: z.array(text).describe('Sentences: what only a higher level, or a restore, shows.'),
});

/** How much a verification has proven. */
export type VerificationProof = z.infer<typeof verificationProof>;
