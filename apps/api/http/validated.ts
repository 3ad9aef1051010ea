import { BadRequestException } from '@nestjs/common';
import type { z } from 'zod';

/** Holds a body against its schema. @throws BadRequestException that names every fault */
export function validated<Schema extends z.ZodType>(schema: Schema, body: unknown): z.infer<Schema> {
  const parsed = schema.safeParse(body ?? {});
  if (parsed.success) return parsed.data;
  const faults = parsed.error.issues.map(({ path, message }) =>
    path.length > 0 ? `${path.join('.')}: ${message}` : message,
  );
  throw new BadRequestException(`${faults.join('; ')}.`);
}
