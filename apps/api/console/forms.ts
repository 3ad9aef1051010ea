import { BadRequestException } from '@nestjs/common';
import type { FastifyRequest } from 'fastify';
import { callerOf } from '../auth/access.js';
import type { Start } from '../daemons/daemons.js';

/** The fields of a form as they came. */
export function fields(body: unknown): Record<string, unknown> {
  return { ...(Object(body) as object) };
}

/** The fields of a form or a query that were filled in, without what belongs to the page itself. */
export function filled(given: unknown): Record<string, unknown> {
  const { done: _done, form: _form, once: _once, ...own } = fields(given);
  return Object.fromEntries(Object.entries(own).filter(([, value]) => value !== ''));
}

/** A box that is ticked is there, and one that is not is not. */
export function ticked(body: unknown, name: string): boolean {
  return fields(body)[name] !== undefined;
}

/** A form that is sent twice, by a second click or going back, starts one daemon. */
export function asked(request: FastifyRequest, body: unknown): Start {
  const { once } = fields(body);
  if (typeof once !== 'string' || !/^[\w-]{1,64}$/.test(once))
    throw new BadRequestException('The form is not whole. Open the page again and repeat it.');
  return { startedBy: callerOf(request).email, key: once };
}

/** For what cannot be undone. @throws BadRequestException */
export function expectConfirmed(body: unknown, name: string): void {
  const { confirmation } = fields(body);
  if (typeof confirmation !== 'string' || confirmation.trim() !== name)
    throw new BadRequestException(`Nothing was done: to confirm, type ${name} into the field.`);
}
