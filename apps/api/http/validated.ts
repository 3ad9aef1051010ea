import { BadRequestException } from '@nestjs/common';
import { z } from 'zod';

/** Holds a body against its schema. @throws BadRequestException that names every fault */
export function validated<Schema extends z.ZodType>(schema: Schema, body: unknown): z.infer<Schema> {
  const parsed = schema.safeParse(body ?? {});
  if (parsed.success) return parsed.data;
  const faults = parsed.error.issues.map(({ path, message }) =>
    path.length > 0 ? `${path.join('.')}: ${message}` : message,
  );
  throw new BadRequestException(`${faults.join('; ')}.`);
}

/** A text to be shown and stored: one line, which PostgreSQL takes. */
export function line(maxLength: number) {
  return z
    .string()
    .min(1)
    .max(maxLength)
    .regex(/^\P{Cc}*$/u, 'must be one line without control characters');
}
