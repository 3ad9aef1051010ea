import { Body, Controller, ForbiddenException, Get, Ip, Post, Query, Req, Res } from '@nestjs/common';
import { ApiExcludeController } from '@nestjs/swagger';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { pageToken } from '../auth/access.js';
import { Login } from '../auth/login.js';
import { clearSessionCookie, cookieToken, setSessionCookie } from '../auth/session-cookie.js';
import { credentials } from '../auth/session.controller.js';
import { Sessions } from '../auth/sessions.js';
import { validated } from '../http/validated.js';
import { CONSOLE_PATH, LOGIN_PATH } from './console-path.js';
import { fields, text } from './forms.js';
import { type Fault, faultOf, leadTo, Pages } from './pages.js';
import { pageAfterLogin } from './page-after-login.js';

/** How a browser gets its session, and ends it. */
@ApiExcludeController()
@Controller('admin')
export class LoginController {
  constructor(
    private readonly pages: Pages,
    private readonly login: Login,
    private readonly sessions: Sessions,
  ) {}

  @Get('login')
  ask(@Query() query: unknown, @Req() request: FastifyRequest, @Res() reply: FastifyReply): void {
    this.show(request, reply, query);
  }

  @Post('login')
  async open(
    @Body() body: unknown,
    @Ip() address: string,
    @Req() request: FastifyRequest,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    const { email, password, next } = fields(body);
    try {
      const given = validated(credentials, { email, password });
      const account = await this.login.check(given.email, given.password, address);
      if (!account.administrator)
        throw new ForbiddenException('The console is for administrators, and this account is none.');
      setSessionCookie(request, reply, await this.sessions.open(account));
      // The browser forgets the old session, so no logout would end it.
      const old = cookieToken(request);
      if (old !== undefined) await this.sessions.close(old);
    } catch (error) {
      return this.show(request, reply, { email, next }, faultOf(error));
    }
    leadTo(reply, pageAfterLogin(next));
  }

  @Post('logout')
  async close(@Req() request: FastifyRequest, @Res() reply: FastifyReply): Promise<void> {
    const token = pageToken(request);
    if (token !== undefined) await this.sessions.close(token);
    clearSessionCookie(request, reply);
    leadTo(reply, LOGIN_PATH, 'logged-out');
  }

  private show(request: FastifyRequest, reply: FastifyReply, given: unknown, fault?: Fault): void {
    const page = pageAfterLogin(fields(given)['next']);
    this.pages.show(request, reply, {
      view: 'login',
      title: 'Log in',
      data: {
        email: text(given, 'email'),
        next: page === CONSOLE_PATH ? '' : page,
      },
      fault,
    });
  }
}
