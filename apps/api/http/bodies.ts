import { BadRequestException } from '@nestjs/common';
import type { FastifyInstance } from 'fastify';

/**
 * Parses JSON bodies. A missing or blank body counts as an empty object, whatever its Content-Type, because the
 * documented curl commands send one.
 * @param takesForms tells by its URL whether a route takes HTML forms instead
 */
export function acceptBodies(fastify: FastifyInstance, takesForms: (url: string) => boolean): void {
  fastify.removeAllContentTypeParsers();
  fastify.addContentTypeParser('*', { parseAs: 'string' }, (request, body, done) => {
    const text = String(body);
    if (text.trim() === '') return done(null, {});
    const type = request.headers['content-type'] ?? '';
    if (FORM.test(type) && takesForms(request.routeOptions.url ?? '')) {
      const form = Object.fromEntries(new URLSearchParams(text));
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

function unstorable(): BadRequestException {
  return new BadRequestException('The body contains a text with a NUL character or a lone surrogate.');
}

/** Whether PostgreSQL and Redis can store a text unchanged. */
function isStorable(text: string): boolean {
  return !/[\0\p{Surrogate}]/u.test(text);
}
