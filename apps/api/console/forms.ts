import { BadRequestException } from '@nestjs/common';
import type { FastifyRequest } from 'fastify';
import { callerOf } from '../auth/access.js';
import type { Start } from '../daemons/daemons.js';

/** The fields of a form as they came. */
export function fields(body: unknown): Record<string, unknown> {
  return { ...(Object(body) as object) };
}

/** A field's text; empty when it is not there. */
export function text(body: unknown, name: string): string {
  const value = fields(body)[name];
  return typeof value === 'string' ? value : '';
}

/** The fields of a query that were filled in, without what says that something is done: that is the page's. */
export function filled(query: unknown): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(fields(query)).filter(([name, value]) => value !== '' && name !== 'done'),
  );
}

/** A box that is ticked is there, and one that is not is not. */
export function ticked(body: unknown, name: string): boolean {
  return fields(body)[name] !== undefined;
}

/** A form that is sent twice, by a second click or going back, starts one daemon. */
export function asked(request: FastifyRequest, body: unknown): Start {
  const once = text(body, 'once');
  if (!/^[\w-]{1,64}$/.test(once))
    throw new BadRequestException('The form is not whole. Open the page again and repeat it.');
  return { startedBy: callerOf(request).email, key: once };
}

/** For what cannot be undone. @throws BadRequestException */
export function expectConfirmed(body: unknown, name: string): void {
  if (text(body, 'confirmation').trim() !== name)
    throw new BadRequestException(`Nothing was done: to confirm, type ${name} into the field.`);
}
