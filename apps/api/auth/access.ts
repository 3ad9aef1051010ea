import { timingSafeEqual } from 'node:crypto';
import { ForbiddenException, UnauthorizedException } from '@nestjs/common';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { Secret } from '#config';
import type { KeyScope } from '#contracts';
import { CONSOLE_PATH, LOGIN_PATH } from '../console/console-path.js';
import { DOCS_PATH, DOCUMENT_PATH } from '../docs/docs-paths.js';
import { sendReason } from '../http/reason.js';
import { looksLikeKey } from './api-keys.js';
import type { Caller, Callers } from './callers.js';
import { isOpen } from './open-routes.js';
import type { PageLogin } from './page-login.js';
import { covers, policyOf, refuseForgottenRoutes, type RoutePolicy } from './route-policies.js';
import { cookieToken } from './session-cookie.js';
import { hashToken } from './tokens.js';

declare module 'fastify' {
  interface FastifyRequest {
    /** Who is asking; set on every route that is not open, unless METRICS_TOKEN opened it. */
    account?: Caller;
  }
}

/**
 * Closes every route to all but those whom its line in route-policies.ts lets in, unless it is listed as open. It is
 * a hook of the server and no guard of Nest's, because it must also stand before the routes that Nest does not know:
 * the dashboard's. It runs before a body is read. A browser that asks for a page is led to the login.
 */
export function guardAllRoutes(
  fastify: FastifyInstance,
  callers: Callers,
  pageLogin: PageLogin,
  metricsToken: Secret | undefined,
): void {
  refuseForgottenRoutes(fastify);
  fastify.decorateRequest('account');
  fastify.addHook('onRequest', async (request, reply) => {
    const { method, routeOptions } = request;
    if (request.is404 || isOpen(method, routeOptions.url ?? '')) return;
    const policy = policyOf(method, routeOptions.url ?? '');
    if (policy?.metricsToken === true && hasToken(request, metricsToken)) return;
    // Who may change something is always asked anew, whatever other APIs have ended.
    if (!SAFE_METHODS.has(method)) callers.forget();
    try {
      const account = isPage(request)
        ? await pageLogin.accountOf(request, reply)
        : await accountOf(request, callers);
      if (account === undefined) throw unauthorized(request);
      request.account = account;
      refuseUnlessAllowed(account, policy);
    } catch (error) {
      if (isPage(request) && error instanceof UnauthorizedException && asksForPage(request))
        return reply.redirect(`${LOGIN_PATH}?next=${encodeURIComponent(request.url)}`, 303);
      // Answered here, because the dashboard would give errors a form of its own.
      return sendReason(error, request, reply);
    }
  });
  // What the body asks for may need more.
  fastify.addHook('preValidation', async (request, reply) => {
    const { account, body, method, routeOptions } = request;
    const more = policyOf(method, routeOptions.url ?? '')?.needsFor?.(body);
    if (account?.key === undefined || more === undefined || covers(account.key.scope, more.scope)) return;
    return sendReason(tooSmall(more.what, more.scope, account.key), request, reply);
  });
  // And whatever a request has ended is over for all that come after its answer.
  fastify.addHook('onSend', ({ method }, _reply, _payload, done) => {
    if (!SAFE_METHODS.has(method)) callers.forget();
    done();
  });
}

/** https://www.rfc-editor.org/rfc/rfc9110.html#section-9.2.1 */
const SAFE_METHODS = new Set(['GET', 'HEAD', 'OPTIONS']);

/** @throws ForbiddenException */
function refuseUnlessAllowed({ administrator, key }: Caller, policy: RoutePolicy | undefined): void {
  if (policy === undefined) throw new ForbiddenException('Nobody may do this.');
  if (!administrator && policy.everyAccount !== true)
    throw new ForbiddenException('Only administrators may do this.');
  if (key === undefined || covers(key.scope, policy.needs)) return;
  if (policy.needs === 'session')
    throw new ForbiddenException('No API key may do this: log in with POST /auth/v1/session.');
  throw tooSmall('This', policy.needs, key);
}

function tooSmall(what: string, needed: KeyScope, { name, scope }: NonNullable<Caller['key']>): Error {
  return new ForbiddenException(`${what} needs an API key of the scope ${needed}, and ${name} has ${scope}.`);
}

/** Who asks, on a route that is not open. */
export function callerOf(request: FastifyRequest): Caller {
  if (request.account === undefined) throw new Error('Nobody is known to ask: the route is open.');
  return request.account;
}

/** Whether the caller may read rows of the repository, in messages as in downloads. */
export function mayReadRows({ administrator, key }: Caller): boolean {
  return administrator && (key === undefined || covers(key.scope, 'everything'));
}

/** What browsers show: they send a cookie by themselves, and no header of ours. The dashboard lies below the console. */
const PAGES = [CONSOLE_PATH, DOCS_PATH, DOCUMENT_PATH];

function isPage(request: FastifyRequest): boolean {
  const url = request.routeOptions.url ?? '';
  return PAGES.some((page) => url === page || url.startsWith(`${page}/`));
}

/** Browsers name HTML when they show a page; scripts, and what pages fetch, do not. */
function asksForPage({ method, headers }: FastifyRequest): boolean {
  return (method === 'GET' || method === 'HEAD') && (headers.accept ?? '').includes('text/html');
}

/** The token of a session or an API key: of the header `sessionToken`, or of `Authorization: Bearer`. */
export function sessionToken(request: FastifyRequest): string | undefined {
  const header = request.headers['sessiontoken'];
  if (typeof header === 'string') return header;
  return /^Bearer\s+(\S+)$/i.exec(request.headers.authorization ?? '')?.[1];
}

/** On pages a browser's cookie will do. */
export function pageToken(request: FastifyRequest): string | undefined {
  return sessionToken(request) ?? cookieToken(request);
}

/** Hashes are compared, which have one length, and in a time that tells nothing. */
function hasToken(request: FastifyRequest, expected: Secret | undefined): boolean {
  const token = sessionToken(request);
  if (token === undefined || expected === undefined) return false;
  return timingSafeEqual(hashToken(token), hashToken(expected.reveal()));
}

async function accountOf(request: FastifyRequest, callers: Callers): Promise<Caller | undefined> {
  const token = isPage(request) ? pageToken(request) : sessionToken(request);
  return token === undefined ? undefined : await callers.accountOf(token);
}

/** Whether the caller may still have an answer that goes on for long. */
export async function mayStill(request: FastifyRequest, callers: Callers): Promise<boolean> {
  return (await accountOf(request, callers))?.administrator === true;
}

function unauthorized(request: FastifyRequest): UnauthorizedException {
  const token = sessionToken(request);
  if (token === undefined)
    return new UnauthorizedException(
      'A session is needed: log in with POST /auth/v1/session and send the header sessionToken.',
    );
  return new UnauthorizedException(
    looksLikeKey(token)
      ? 'The API key has expired, was revoked or never was. An administrator makes another with POST /auth/v1/keys.'
      : 'The session has ended or never was. Log in again with POST /auth/v1/session.',
  );
}
