import { BadRequestException } from '@nestjs/common';
import { z } from 'zod';

/** Checks a body or a query against its schema. @throws BadRequestException that names every fault */
export function validated<Schema extends z.ZodType>(schema: Schema, body: unknown): z.infer<Schema> {
  const parsed = schema.safeParse(body ?? {});
  if (parsed.success) return parsed.data;
  const faults = parsed.error.issues.map(({ path, message }) =>
    path.length > 0 ? `${path.join('.')}: ${message}` : message,
  );
  throw new BadRequestException(`${faults.join('; ')}.`);
}

/** The schema of a body or a query without any fields. */
export const nothing = z.strictObject({});

/** The schema of one line of text, which can be shown and stored. */
export function line(maxLength: number) {
  return z
    .string()
    .min(1)
    .max(maxLength)
    .regex(/^\P{Cc}*$/u, 'must be one line without control characters');
}

const number = z
  .string('give it once')
  .regex(/^\d{1,9}$/, 'this is no number')
  .transform(Number);

/** The query parameters of every list. */
export const page = {
  limit: number.pipe(z.number().min(1).max(100)).default(20),
  offset: number.pipe(z.number().min(0)).default(0),
};

/** Whether a text can be an id: the queue and the database count them from 1. */
export function isId(text: string): boolean {
  return /^[1-9]\d{0,17}$/.test(text);
}
