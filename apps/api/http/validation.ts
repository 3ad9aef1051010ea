import { BadRequestException } from '@nestjs/common';
import { z } from 'zod';

/** A 400 with the faults of a body or a query, by field. */
export class InvalidRequest extends BadRequestException {
  constructor(readonly faults: { field: string; message: string }[]) {
    super(
      `${faults.map(({ field, message }) => (field === '' ? message : `${field}: ${message}`)).join('; ')}.`,
    );
  }
}

/** Checks a body or a query against its schema. @throws InvalidRequest that names every fault */
export function validated<Schema extends z.ZodType>(schema: Schema, body: unknown): z.infer<Schema> {
  const parsed = schema.safeParse(body ?? {});
  if (parsed.success) return parsed.data;
  throw new InvalidRequest(
    parsed.error.issues.map(({ path, message }) => ({ field: path.join('.'), message })),
  );
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
