import { join } from 'node:path';
import fastifyStatic from '@fastify/static';
import { ForbiddenException } from '@nestjs/common';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { policyOf, setAccessBelow } from '../access/policy.js';
import type { Callers } from '../auth/callers.js';
import { pageToken } from '../auth/request-tokens.js';
import { isFormToken } from '../auth/tokens.js';
import { sendReason } from '../http/reason.js';
import { CONTENT_SECURITY_POLICY } from '../http/safe-answers.js';
import { text } from './forms.js';
import type { Pages } from './pages.js';
import { CONSOLE_PATH, isConsole } from './paths.js';

const FOREIGN_FORM =
  'This form was not sent by the console itself, and nothing was done. Open the page again and repeat it.';

/**
 * Sets up what all pages of the console share. Only the console's own forms change anything, browsers load nothing from
 * other servers, and errors are pages.
 */
export async function registerConsole(
  fastify: FastifyInstance,
  pages: Pages,
  callers: Callers,
): Promise<void> {
  fastify.get('/', { config: { access: { needs: 'session', page: true } } }, (_request, reply) =>
    reply.redirect(CONSOLE_PATH, 302),
  );
  // No policy guards a page that does not exist. Its error page has the navigation if somebody is logged in.
  fastify.addHook('onRequest', async (request) => {
    const token = request.is404 && isConsole(request.url) ? pageToken(request) : undefined;
    const account = token === undefined ? undefined : await callers.accountOf(token);
    if (account?.administrator === true) request.account = account;
  });
  fastify.addHook('onRequest', async (request, reply) => {
    if (changesSomething(request) && comesFromElsewhere(request))
      return sendReason(new ForbiddenException(FOREIGN_FORM), request, reply);
  });
  fastify.addHook('preValidation', async (request, reply) => {
    if (!changesSomething(request) || policyOf(request)?.needs === 'nothing') return;
    const token = pageToken(request);
    if (token === undefined || !isFormToken(text(request.body, 'form'), token))
      return sendReason(new ForbiddenException(FOREIGN_FORM), request, reply);
  });
  fastify.addHook('onSend', async (request, reply, payload) => {
    if (!isConsole(request.routeOptions.url ?? request.url)) return payload;
    void reply
      .header('Content-Security-Policy', CONTENT_SECURITY_POLICY.strict)
      .header('Cross-Origin-Opener-Policy', 'same-origin')
      // Not no-referrer, with which browsers hide the origin of a form.
      .header('Referrer-Policy', 'same-origin');
    const reason = showsPages(request) ? reasonIn(payload, reply.getHeader('Content-Type')) : undefined;
    if (reason === undefined) return payload;
    void reply.header('Content-Type', 'text/html; charset=utf-8');
    return pages.error(request, reply.statusCode, reason);
  });
  setAccessBelow(fastify, ASSETS_PATH, { needs: 'nothing' });
  await fastify.register(fastifyStatic, {
    root: join(__dirname, 'assets'),
    prefix: ASSETS_PATH,
    wildcard: false,
    decorateReply: false,
    maxAge: '1h',
  });
}

const ASSETS_PATH = '/admin/assets';

function changesSomething({ method, routeOptions: { url = '' } }: FastifyRequest): boolean {
  return isConsole(url) && method !== 'GET' && method !== 'HEAD';
}

/** Browsers name the origin of a form in one of two headers. Requests with neither come from no browser. */
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
