import { ForbiddenException, UnauthorizedException } from '@nestjs/common';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { DASHBOARD_PATH } from '../dashboard/dashboard-path.js';
import type { DashboardLogin } from '../dashboard/dashboard-login.js';
import { sendReason } from '../http/reason.js';
import { OPEN_ROUTES } from './open-routes.js';
import type { Caller, Sessions } from './sessions.js';

declare module 'fastify' {
  interface FastifyRequest {
    /** Who is asking; set on every route that is not open. */
    account?: Caller;
  }
}

/**
 * Closes every route to all but administrators, unless it is listed as open. It is a hook of the server and
 * no guard of Nest's, because it must also stand before the routes that Nest does not know: the dashboard's.
 * It runs before a body is read.
 */
export function guardAllRoutes(
  fastify: FastifyInstance,
  sessions: Sessions,
  dashboardLogin: DashboardLogin,
): void {
  fastify.decorateRequest('account');
  fastify.addHook('onRequest', async (request, reply) => {
    if (request.is404 || isOpen(request)) return;
    try {
      const account = isDashboard(request)
        ? await dashboardLogin.accountOf(request, reply)
        : await accountOf(request, sessions);
      if (account === undefined) throw unauthorized(request);
      if (!account.administrator) throw new ForbiddenException('Only administrators may do this.');
      request.account = account;
    } catch (error) {
      // A browser that asks for the dashboard shows its login window for this header.
      if (isDashboard(request) && error instanceof UnauthorizedException)
        void reply.header('WWW-Authenticate', 'Basic realm="snapshotd", charset="UTF-8"');
      // Answered here, because the dashboard would give errors a form of its own.
      return sendReason(error, request, reply);
    }
  });
}

function isOpen(request: FastifyRequest): boolean {
  const method = request.method === 'HEAD' ? 'GET' : request.method;
  return OPEN_ROUTES.has(`${method} ${request.routeOptions.url ?? ''}`);
}

function isDashboard(request: FastifyRequest): boolean {
  const url = request.routeOptions.url ?? '';
  return url === DASHBOARD_PATH || url.startsWith(`${DASHBOARD_PATH}/`);
}

/** The token of the header `sessionToken`, or of `Authorization: Bearer`. */
export function sessionToken(request: FastifyRequest): string | undefined {
  const header = request.headers['sessiontoken'];
  if (typeof header === 'string') return header;
  return /^Bearer\s+(\S+)$/i.exec(request.headers.authorization ?? '')?.[1];
}

async function accountOf(request: FastifyRequest, sessions: Sessions): Promise<Caller | undefined> {
  const token = sessionToken(request);
  return token === undefined ? undefined : await sessions.accountOf(token);
}

/** For an answer that goes on for long: whether whoever asked for it may still have it. */
export async function mayStill(request: FastifyRequest, sessions: Sessions): Promise<boolean> {
  return (await accountOf(request, sessions))?.administrator === true;
}

function unauthorized(request: FastifyRequest): UnauthorizedException {
  return new UnauthorizedException(
    sessionToken(request) === undefined
      ? 'A session is needed: log in with POST /auth/v1/session and send the header sessionToken.'
      : 'The session has ended or never was. Log in again with POST /auth/v1/session.',
  );
}
