import { BadRequestException } from '@nestjs/common';
import type { FastifyRequest } from 'fastify';

/**
 * The header Idempotency-Key, as draft-ietf-httpapi-idempotency-key-header has it; what it holds is the client's.
 * @returns undefined when the client sent none. @throws BadRequestException
 */
export function idempotencyKey({ headers }: FastifyRequest): string | undefined {
  const key = headers['idempotency-key'];
  if (key === undefined) return undefined;
  if (typeof key === 'string' && /^[\x21-\x7e]{1,255}$/.test(key)) return key;
  throw new BadRequestException(
    'The header Idempotency-Key must have 1 to 255 visible characters, no blanks.',
  );
}
