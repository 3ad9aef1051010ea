import { BadRequestException } from '@nestjs/common';
import type { FastifyInstance } from 'fastify';

/**
 * Reads bodies as leniently as the commands of the documentation need: no body at all is an empty object,
 * whatever Content-Type goes with it. What is there must be JSON and say so.
 */
export function acceptBodies(fastify: FastifyInstance): void {
  fastify.removeAllContentTypeParsers();
  fastify.addContentTypeParser('*', { parseAs: 'string' }, (request, body, done) => {
    const text = String(body);
    if (text.trim() === '') return done(null, {});
    const type = request.headers['content-type'] ?? '';
    if (!/^application\/(json|[\w.+-]+\+json)\s*(;|$)/i.test(type))
      return done(
        new BadRequestException(
          `The body must be JSON and be sent with Content-Type: application/json, not ${type}.`,
        ),
      );
    try {
      done(null, JSON.parse(text));
    } catch {
      done(new BadRequestException('The body is no valid JSON.'));
    }
  });
}
