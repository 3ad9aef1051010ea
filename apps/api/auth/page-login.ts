import type { FastifyReply, FastifyRequest } from 'fastify';
import { Injectable } from '@nestjs/common';
import { sessionToken } from './access.js';
import { type Caller, Callers } from './callers.js';
import { Login } from './login.js';
import { Sessions } from './sessions.js';

const COOKIE = 'snapshotd_session';

/**
 * Who looks at a page, which is the dashboard or the documentation: by a session's token or an API key in a header, or
 * in a browser by HTTP Basic. The browser sends Basic with each request, and checking a password is slow on purpose; so
 * the first time opens a session, which a cookie carries on for this page and what lies beside it.
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
    const token = sessionToken(request) ?? cookieToken(request);
    const account = token === undefined ? undefined : await this.callers.accountOf(token);
    return account ?? (await this.byPassword(request, reply));
  }

  private async byPassword(request: FastifyRequest, reply: FastifyReply): Promise<Caller | undefined> {
    const encoded = /^Basic\s+(\S+)$/i.exec(request.headers.authorization ?? '')?.[1];
    if (encoded === undefined) return undefined;
    const [, email, password] = /^([^:]*):(.*)$/s.exec(Buffer.from(encoded, 'base64').toString('utf8')) ?? [];
    if (email === undefined || password === undefined) return undefined;
    const account = await this.login.check(email, password, request.ip);
    if (account.administrator) {
      const secure = request.protocol === 'https' ? '; Secure' : '';
      const opened = await this.sessions.open(account);
      const [, path = ''] = request.url.split(/[/?]/);
      void reply.header(
        'Set-Cookie',
        `${COOKIE}=${opened}; Path=/${path}; HttpOnly; SameSite=Strict${secure}`,
      );
    }
    return account;
  }
}

function cookieToken(request: FastifyRequest): string | undefined {
  return new RegExp(`(?:^|;\\s*)${COOKIE}=([\\w-]+)`).exec(request.headers.cookie ?? '')?.[1];
}
