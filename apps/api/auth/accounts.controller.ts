import {
  Body,
  Controller,
  ForbiddenException,
  Get,
  HttpCode,
  Ip,
  NotFoundException,
  Param,
  Patch,
  Post,
  Put,
  Req,
} from '@nestjs/common';
import type { FastifyRequest } from 'fastify';
import { z } from 'zod';
import type { Account } from '#database';
import { Audit } from '../audit/audit.js';
import { beginAudited } from '../audit/audited-calls.js';
import { Documented } from '../docs/documented.js';
import { isId } from '../http/ids.js';
import { line, validated } from '../http/validated.js';
import { callerOf, sessionToken } from './access.js';
import * as docs from './accounts.docs.js';
import { Accounts } from './accounts.js';
import { Login } from './login.js';

const displayName = line(200);
const password = z.string().min(8).max(1024);

const newAccount = z.strictObject({
  email: z.email().max(320),
  displayName: displayName.optional(),
  password,
  administrator: z.boolean().default(false),
});
const accountChanges = z.strictObject({
  displayName: displayName.optional(),
  administrator: z.boolean().optional(),
  active: z.boolean().optional(),
  password: password.optional(),
});
const passwordChange = z.strictObject({
  currentPassword: z.string().min(1).max(1024),
  newPassword: password,
});

@Controller('auth/v1')
export class AccountsController {
  constructor(
    private readonly accounts: Accounts,
    private readonly login: Login,
    private readonly audit: Audit,
  ) {}

  @Documented(docs.listAccounts)
  @Get('accounts')
  async list() {
    return { accounts: (await this.accounts.list()).map(view) };
  }

  @Documented(docs.createAccount, { body: newAccount })
  @Post('accounts')
  async create(@Body() body: unknown) {
    const account = validated(newAccount, body);
    return view(
      await this.accounts.create({ ...account, displayName: account.displayName ?? account.email }),
    );
  }

  @Documented(docs.changeAccount, { body: accountChanges })
  @Patch('accounts/:id')
  async change(@Param('id') id: string, @Body() body: unknown) {
    const changes = validated(accountChanges, body);
    const account = isId(id) ? await this.accounts.change(id, changes) : undefined;
    if (account === undefined) throw new NotFoundException('There is no account of this id.');
    return view(account);
  }

  /** Everyone's own. A wrong current password is no 401: the session goes on. */
  @Documented(docs.changePassword, { body: passwordChange })
  @Put('password')
  @HttpCode(204)
  async changePassword(
    @Body() body: unknown,
    @Req() request: FastifyRequest,
    @Ip() address: string,
  ): Promise<void> {
    const { currentPassword, newPassword } = validated(passwordChange, body);
    const account = await this.login.verify(callerOf(request).email, currentPassword, address);
    if (account === undefined) throw new ForbiddenException('The current password is wrong.');
    await beginAudited(request, this.audit);
    await this.accounts.changePassword(account, newPassword, sessionToken(request) ?? '');
  }
}

function view({ id, email, displayName, administrator, active, createdOn }: Account) {
  return { id, email, displayName, administrator, active, createdOn: createdOn.getTime() };
}
