import type { FastifyInstance } from 'fastify';

/** For a year, and for this host name alone: its subdomains may be somebody else's. */
const HTTPS_ONLY = 'max-age=31536000';

/**
 * The headers of every answer. Browsers take a body for what its type says, and keep no copy: statuses, pages and errors
 * may be private. By HTTPS they are told to come by HTTPS only from then on.
 */
export function safeHeaders(https: boolean): Record<string, string> {
  return {
    'Cache-Control': 'no-store',
    'X-Content-Type-Options': 'nosniff',
    ...(https && { 'Strict-Transport-Security': HTTPS_ONLY }),
  };
}

/** Gives every answer safe headers, also where there is no route. Files that hold nothing private replace no-store. */
export function sendSafeHeaders(fastify: FastifyInstance): void {
  fastify.addHook('onRequest', (request, reply, done) => {
    void reply.headers(safeHeaders(request.protocol === 'https'));
    done();
  });
}
