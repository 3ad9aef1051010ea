import { Injectable } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { pageToken } from './access.js';
import { type Caller, Callers } from './callers.js';
import { Login } from './login.js';
import { setSessionCookie } from './session-cookie.js';
import { Sessions } from './sessions.js';

/**
 * Who looks at a page, which is the console, the dashboard or the documentation: by a session's token in the cookie
 * that the console's login sets, or in a header, or by an API key in a header. A script may send email and password by
 * HTTP Basic. It does so with each request, and checking a password is slow on purpose; so the first time opens a
 * session, which the cookie carries on.
 */
@Injectable()
export class PageLogin {
  constructor(
    private readonly login: Login,
    private readonly callers: Callers,
    private readonly sessions: Sessions,
  ) {}

  /** @throws UnauthorizedException, TooManyRequests */
  async accountOf(request: FastifyRequest, reply: FastifyReply): Promise<Caller | undefined> {
    const token = pageToken(request);
    const account = token === undefined ? undefined : await this.callers.accountOf(token);
    return account ?? (await this.byPassword(request, reply));
  }

  private async byPassword(request: FastifyRequest, reply: FastifyReply): Promise<Caller | undefined> {
    const encoded = /^Basic\s+(\S+)$/i.exec(request.headers.authorization ?? '')?.[1];
    if (encoded === undefined) return undefined;
    const [, email, password] = /^([^:]*):(.*)$/s.exec(Buffer.from(encoded, 'base64').toString('utf8')) ?? [];
    if (email === undefined || password === undefined) return undefined;
    const account = await this.login.check(email, password, request.ip);
    if (account.administrator) setSessionCookie(request, reply, await this.sessions.open(account));
    return account;
  }
}
