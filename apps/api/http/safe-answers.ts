import type { FastifyInstance } from 'fastify';

/** One year, and without includeSubDomains: subdomains may belong to somebody else. */
const HTTPS_ONLY = 'max-age=31536000';

/**
 * The headers of every answer. Browsers trust its Content-Type and store no copy, since statuses, pages and errors may
 * be private. After an answer over HTTPS they use HTTPS only.
 */
export function safeHeaders(https: boolean): Record<string, string> {
  return {
    'Cache-Control': 'no-store',
    'X-Content-Type-Options': 'nosniff',
    ...(https && { 'Strict-Transport-Security': HTTPS_ONLY }),
  };
}

/** Adds the safe headers to every answer, 404s among them. Public files replace no-store. */
export function sendSafeHeaders(fastify: FastifyInstance): void {
  fastify.addHook('onRequest', (request, reply, done) => {
    void reply.headers(safeHeaders(request.protocol === 'https'));
    done();
  });
}

/** The content security policies of pages. Both load everything from this server only. */
export const CONTENT_SECURITY_POLICY = {
  /** For our own pages: no inline scripts or styles. */
  strict: [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self'",
    "connect-src 'self'",
    "form-action 'self'",
    "base-uri 'none'",
    "frame-ancestors 'none'",
  ].join('; '),
  /** For pages that come in packages, which need inline styles. */
  inlineStyles: [
    "default-src 'self'",
    "style-src 'self' 'unsafe-inline'",
    "img-src 'self' data:",
    "frame-ancestors 'none'",
    "form-action 'none'",
  ].join('; '),
};
