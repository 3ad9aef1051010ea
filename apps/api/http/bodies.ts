import { BadRequestException } from '@nestjs/common';
import type { FastifyInstance } from 'fastify';
import { isConsole } from '../console/console-path.js';

/**
 * Reads bodies as leniently as the commands of the documentation need: no body at all is an empty object,
 * whatever Content-Type goes with it. What is there must be JSON and say so; the console takes its forms, and nothing
 * else does.
 */
export function acceptBodies(fastify: FastifyInstance): void {
  fastify.removeAllContentTypeParsers();
  fastify.addContentTypeParser('*', { parseAs: 'string' }, (request, body, done) => {
    const text = String(body);
    if (text.trim() === '') return done(null, {});
    const type = request.headers['content-type'] ?? '';
    if (FORM.test(type) && isConsole(request.routeOptions.url ?? '')) {
      const form = formOf(text);
      return Object.entries(form).flat().every(isStorable) ? done(null, form) : done(unstorable());
    }
    if (!/^application\/(json|[\w.+-]+\+json)\s*(;|$)/i.test(type))
      return done(
        new BadRequestException(
          `The body must be JSON and be sent with Content-Type: application/json, not ${type}.`,
        ),
      );
    let storable = true;
    try {
      const json: unknown = JSON.parse(text, (key, value: unknown) => {
        storable &&= isStorable(key) && (typeof value !== 'string' || isStorable(value));
        return value;
      });
      if (storable) return done(null, json);
    } catch {
      return done(new BadRequestException('The body is no valid JSON.'));
    }
    done(unstorable());
  });
}

const FORM = /^application\/x-www-form-urlencoded\s*(;|$)/i;

/** The fields of a form. Of several with the same name the last one counts. */
function formOf(text: string): Record<string, string> {
  return Object.fromEntries(new URLSearchParams(text));
}

function unstorable(): BadRequestException {
  return new BadRequestException('The body holds a text with a NUL character or with half of another one.');
}

/** Whether PostgreSQL and Redis can keep a text as it is. */
function isStorable(text: string): boolean {
  return !/[\0\p{Surrogate}]/u.test(text);
}
