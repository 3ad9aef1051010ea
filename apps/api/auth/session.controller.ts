import { Body, Controller, Delete, HttpCode, Ip, Post, Put, UnauthorizedException } from '@nestjs/common';
import { z } from 'zod';
import { Access } from '../access/access.decorator.js';
import { Documented } from '../docs/documented.js';
import { validated } from '../http/validation.js';
import { LoginSessions } from './login-sessions.js';
import { Login } from './login.js';
import * as docs from './session.docs.js';

export const credentials = z.strictObject({
  email: z.string().min(1).max(320),
  password: z.string().min(1).max(1024),
});
const token = z.strictObject({ sessionToken: z.string().min(1).max(1024) });

/** Login and logout. Open, because the token is in the body. */
@Controller('auth/v1/session')
export class SessionController {
  constructor(
    private readonly login: Login,
    private readonly sessions: LoginSessions,
  ) {}

  @Access({ needs: 'nothing' })
  @Documented(docs.openSession, { body: credentials })
  @Post()
  async open(@Body() body: unknown, @Ip() address: string): Promise<docs.SessionView> {
    const { email, password } = validated(credentials, body);
    const account = await this.login.check(email, password, address);
    return { displayName: account.displayName, sessionToken: await this.sessions.open(account) };
  }

  @Access({ needs: 'nothing' })
  @Documented(docs.prolongSession, { body: token })
  @Put()
  @HttpCode(204)
  async prolong(@Body() body: unknown): Promise<void> {
    const { sessionToken } = validated(token, body);
    if (!(await this.sessions.prolong(sessionToken)))
      throw new UnauthorizedException('The session has ended. Log in again with POST /auth/v1/session.');
  }

  @Access({ needs: 'nothing' })
  @Documented(docs.closeSession, { body: token })
  @Delete()
  @HttpCode(204)
  async close(@Body() body: unknown): Promise<void> {
    const { sessionToken } = validated(token, body);
    await this.sessions.close(sessionToken);
  }
}
