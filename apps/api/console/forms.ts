import { BadRequestException } from '@nestjs/common';
import type { FastifyRequest } from 'fastify';
import { callerOf } from '../access/caller.js';
import type { Start } from '../daemons/daemons.js';

/** The fields of a form. */
export function fields(body: unknown): Record<string, unknown> {
  return { ...(Object(body) as object) };
}

/** A field's text; empty if it is missing. */
export function text(body: unknown, name: string): string {
  const value = fields(body)[name];
  return typeof value === 'string' ? value : '';
}

/** The nonempty fields of a query, without `done`, which belongs to the page. */
export function filled(query: unknown): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(fields(query)).filter(([name, value]) => value !== '' && name !== 'done'),
  );
}

/** Whether a checkbox is ticked: browsers send ticked ones only. */
export function ticked(body: unknown, name: string): boolean {
  return fields(body)[name] !== undefined;
}

/** The ticked checkboxes of these. */
export function allTicked<Name extends string>(body: unknown, ...names: Name[]): Record<Name, boolean> {
  const boxes = names.map((name) => [name, ticked(body, name)] as const);
  return Object.fromEntries(boxes) as Record<Name, boolean>;
}

/** The start that a form asks for. A form that is sent twice, by a second click or the back button, starts one job. */
export function startOf(request: FastifyRequest, body: unknown): Start {
  const once = text(body, 'once');
  if (!/^[\w-]{1,64}$/.test(once))
    throw new BadRequestException('The form is incomplete. Open the page again and repeat it.');
  return { startedBy: callerOf(request).email, key: once };
}

/** Requires the name to be typed, for actions that cannot be undone. @throws BadRequestException */
export function expectConfirmed(body: unknown, name: string): void {
  if (text(body, 'confirmation').trim() !== name)
    throw new BadRequestException(`Nothing was done: to confirm, type ${name} into the field.`);
}

/** The lines of a field that are not empty; undefined if there are none. */
export function lines(field: string): string[] | undefined {
  const all = field
    .split(/\r?\n/)
    .map((line) => line.trim())
    .filter((line) => line !== '');
  return all.length > 0 ? all : undefined;
}
