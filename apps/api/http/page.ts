import { z } from 'zod';

const number = z
  .string('give it once')
  .regex(/^\d{1,9}$/, 'this is no number')
  .transform(Number);

/** The query parameters of every list. */
export const page = {
  limit: number.pipe(z.number().min(1).max(100)).default(20),
  offset: number.pipe(z.number().min(0)).default(0),
};
