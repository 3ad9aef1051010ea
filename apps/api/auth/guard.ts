import { ForbiddenException, UnauthorizedException } from '@nestjs/common';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { Secret } from '#config';
import type { KeyScope } from '#contracts';
import type { Caller } from '../access/caller.js';
import { covers, policyOf, type RoutePolicy } from '../access/policy.js';
import { sendReason } from '../http/reason.js';
import type { Callers } from './callers.js';
import { pageToken, sessionToken, setSessionCookie } from './request-tokens.js';
import type { Login } from './login.js';
import type { LoginSessions } from './login-sessions.js';
import { isSameToken, KEY_PREFIX } from './tokens.js';

export interface GuardOptions {
  callers: Callers;
  login: Login;
  sessions: LoginSessions;
  metricsToken: Secret | undefined;
  /** The path that browsers without a session are redirected to. */
  loginPath: string;
}

/**
 * Enforces the policy of every route. It is a hook of the server and not a guard of Nest, because it must also protect
 * the dashboard's routes, which Nest does not know. It runs before a body is read.
 */
export function guardAllRoutes(fastify: FastifyInstance, options: GuardOptions): void {
  const { callers, metricsToken, loginPath } = options;
  fastify.decorateRequest('account');
  fastify.addHook('onRequest', async (request, reply) => {
    const policy = policyOf(request);
    if (request.is404 || policy?.needs === 'nothing') return;
    if (policy?.metricsToken === true && hasToken(request, metricsToken)) return;
    // Changes need a fresh lookup: another API may have ended the session.
    if (!SAFE_METHODS.has(request.method)) callers.forget();
    try {
      const account =
        (await accountOf(request, callers)) ??
        (policy?.page === true ? await basicAuthentication(request, reply, options) : undefined);
      if (account === undefined) throw unauthorized(request);
      request.account = account;
      refuseUnlessAllowed(account, policy);
    } catch (error) {
      if (policy?.page === true && error instanceof UnauthorizedException && asksForPage(request))
        return reply.redirect(`${loginPath}?next=${encodeURIComponent(request.url)}`, 303);
      // Answered here, because the dashboard has an error handler with another form.
      return sendReason(error, request, reply);
    }
  });
  fastify.addHook('preValidation', async (request, reply) => {
    const { account, body } = request;
    const more = policyOf(request)?.needsFor?.(body);
    if (account?.key === undefined || more === undefined || covers(account.key.scope, more.scope)) return;
    return sendReason(tooSmall(more.what, more.scope, account.key), request, reply);
  });
  // The request may have ended a session, a key or an account.
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
  if (key === undefined || policy.needs === 'nothing' || covers(key.scope, policy.needs)) return;
  if (policy.needs === 'session')
    throw new ForbiddenException('No API key may do this: log in with POST /auth/v1/session.');
  throw tooSmall('This', policy.needs, key);
}

function tooSmall(what: string, needed: KeyScope, { name, scope }: NonNullable<Caller['key']>): Error {
  return new ForbiddenException(`${what} needs an API key of the scope ${needed}, and ${name} has ${scope}.`);
}

/** Browsers ask for HTML when they show a page; scripts do not. */
function asksForPage({ method, headers }: FastifyRequest): boolean {
  return (method === 'GET' || method === 'HEAD') && (headers.accept ?? '').includes('text/html');
}

function hasToken(request: FastifyRequest, expected: Secret | undefined): boolean {
  const token = sessionToken(request);
  return token !== undefined && expected !== undefined && isSameToken(token, expected.reveal());
}

async function accountOf(request: FastifyRequest, callers: Callers): Promise<Caller | undefined> {
  const token = policyOf(request)?.page === true ? pageToken(request) : sessionToken(request);
  return token === undefined ? undefined : await callers.accountOf(token);
}

/**
 * Checks email and password of HTTP Basic, which scripts send to pages. Checking a password is slow on purpose, so the
 * first request opens a session, whose cookie replaces the password.
 * @throws UnauthorizedException, TooManyRequests
 */
async function basicAuthentication(
  request: FastifyRequest,
  reply: FastifyReply,
  { login, sessions }: GuardOptions,
): Promise<Caller | undefined> {
  const encoded = /^Basic\s+(\S+)$/i.exec(request.headers.authorization ?? '')?.[1];
  if (encoded === undefined) return undefined;
  const [, email, password] = /^([^:]*):(.*)$/s.exec(Buffer.from(encoded, 'base64').toString('utf8')) ?? [];
  if (email === undefined || password === undefined) return undefined;
  const account = await login.check(email, password, request.ip);
  if (account.administrator) setSessionCookie(request, reply, await sessions.open(account));
  return account;
}

/** Whether a caller may still read a long answer that has begun. */
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
    token.startsWith(KEY_PREFIX)
      ? 'The API key does not exist, has expired or was revoked. Create another one with POST /auth/v1/keys.'
      : 'The session does not exist or has ended. Log in again with POST /auth/v1/session.',
  );
}
