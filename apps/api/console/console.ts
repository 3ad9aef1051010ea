import { ForbiddenException } from '@nestjs/common';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { pageToken } from '../auth/access.js';
import { isOpen } from '../auth/open-routes.js';
import { sendReason } from '../http/reason.js';
import { isConsole } from './console-path.js';
import { isFormToken } from './form-token.js';
import { text } from './forms.js';
import type { Pages } from './pages.js';

/** Everything comes from this server, and nothing is written into the pages themselves. */
const CONTENT_SECURITY_POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self'",
  "connect-src 'self'",
  "form-action 'self'",
  "base-uri 'none'",
  "frame-ancestors 'none'",
].join('; ');

const FOREIGN_FORM =
  'This form was not sent by the console itself, and nothing was done. Open the page again and repeat it.';

/**
 * What holds for every page of the console: access is decided where all routes are guarded, and here that
 * what changes something comes from the console's own forms; that browsers load nothing from elsewhere; and that
 * errors are pages there.
 */
export function registerConsole(fastify: FastifyInstance, pages: Pages): void {
  fastify.addHook('onRequest', async (request, reply) => {
    if (changesSomething(request) && comesFromElsewhere(request))
      return sendReason(new ForbiddenException(FOREIGN_FORM), request, reply);
  });
  fastify.addHook('preValidation', async (request, reply) => {
    if (!changesSomething(request) || isOpen(request.method, request.routeOptions.url ?? '')) return;
    const token = pageToken(request);
    if (token === undefined || !isFormToken(text(request.body, 'form'), token))
      return sendReason(new ForbiddenException(FOREIGN_FORM), request, reply);
  });
  fastify.addHook('onSend', async (request, reply, payload) => {
    if (!isConsole(request.routeOptions.url ?? request.url)) return payload;
    void reply
      .header('Content-Security-Policy', CONTENT_SECURITY_POLICY)
      .header('Cross-Origin-Opener-Policy', 'same-origin')
      // Not no-referrer: browsers would then not say either where a form comes from.
      .header('Referrer-Policy', 'same-origin');
    const reason = showsPages(request) ? reasonIn(payload, reply.getHeader('Content-Type')) : undefined;
    if (reason === undefined) return payload;
    void reply.header('Content-Type', 'text/html; charset=utf-8');
    return pages.error(request, reply.statusCode, reason);
  });
}

function changesSomething({ method, routeOptions: { url = '' } }: FastifyRequest): boolean {
  return isConsole(url) && method !== 'GET' && method !== 'HEAD';
}

/** Browsers say where a form comes from, in one header or the other; what says neither is none, and has no cookie. */
function comesFromElsewhere({ headers, host }: FastifyRequest): boolean {
  const site = headers['sec-fetch-site'];
  if (site !== undefined) return site !== 'same-origin';
  const { origin } = headers;
  return origin !== undefined && (!URL.canParse(origin) || new URL(origin).host !== host);
}

function showsPages({ headers }: FastifyRequest): boolean {
  return (headers.accept ?? '').includes('text/html');
}

function reasonIn(payload: unknown, type: unknown): string | undefined {
  if (typeof payload !== 'string' || !String(type).startsWith('application/json')) return undefined;
  const { reason } = JSON.parse(payload) as { reason?: string };
  return reason;
}
