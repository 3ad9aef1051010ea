import { z } from 'zod';

/** Which database the workers are to work for. */
export const identityRequest = z.strictObject({
  systemIdentifier: z.string().regex(/^\d{1,20}$/, 'must be the digits that a worker reports'),
  databaseOid: z
    .int()
    .min(1)
    .max(2 ** 32 - 1),
  databaseName: z
    .string()
    .max(63)
    // What JSON can hold, and PostgreSQL's cannot.
    .regex(/^[^\p{Cc}\p{Cs}]+$/u, 'must be the name that a worker reports'),
  /** Whether the repository has moved there: archives of where it was stay its own. */
  moved: z.boolean().default(true),
});
