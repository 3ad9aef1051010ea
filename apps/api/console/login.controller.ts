import { Body, Controller, ForbiddenException, Get, Ip, Post, Query, Req, Res } from '@nestjs/common';
import { ApiExcludeController } from '@nestjs/swagger';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { PageAccess } from '../access/access.decorator.js';
import { LoginSessions } from '../auth/login-sessions.js';
import { Login } from '../auth/login.js';
import { clearSessionCookie, cookieToken, pageToken, setSessionCookie } from '../auth/request-tokens.js';
import { credentials } from '../auth/session.controller.js';
import { validated } from '../http/validation.js';
import { fields, text } from './forms.js';
import { type Fault, faultOf, Pages, redirectTo } from './pages.js';
import { CONSOLE_PATH, LOGIN_PATH, pageAfterLogin } from './paths.js';

/** Login and logout of browsers. */
@ApiExcludeController()
@Controller('admin')
export class LoginController {
  constructor(
    private readonly pages: Pages,
    private readonly login: Login,
    private readonly sessions: LoginSessions,
  ) {}

  @PageAccess({ needs: 'nothing' })
  @Get('login')
  ask(@Query() query: unknown, @Req() request: FastifyRequest, @Res() reply: FastifyReply): void {
    this.show(request, reply, query);
  }

  @PageAccess({ needs: 'nothing' })
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
      // The new cookie replaces that of the old session, which no logout could end.
      const old = cookieToken(request);
      if (old !== undefined) await this.sessions.close(old);
    } catch (error) {
      return this.show(request, reply, { email, next }, faultOf(error));
    }
    redirectTo(reply, pageAfterLogin(next));
  }

  @PageAccess()
  @Post('logout')
  async close(@Req() request: FastifyRequest, @Res() reply: FastifyReply): Promise<void> {
    const token = pageToken(request);
    if (token !== undefined) await this.sessions.close(token);
    clearSessionCookie(request, reply);
    redirectTo(reply, LOGIN_PATH, 'logged-out');
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
