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
import type { Account } from '#database';
import { Access } from '../access/access.decorator.js';
import { callerOf } from '../access/caller.js';
import { Audit } from '../audit/audit.js';
import { beginAudited } from '../audit/audited-calls.js';
import { Documented } from '../docs/documented.js';
import { isId, validated } from '../http/validation.js';
import * as docs from './accounts.docs.js';
import { Accounts } from './accounts.js';
import { Login } from './login.js';
import { sessionToken } from './request-tokens.js';

/** The accounts. No API key manages them, so a leaked key cannot let anybody in. */
@Controller('auth/v1')
export class AccountsController {
  constructor(
    private readonly accounts: Accounts,
    private readonly login: Login,
    private readonly audit: Audit,
  ) {}

  @Access({ needs: 'session' })
  @Documented(docs.listAccounts)
  @Get('accounts')
  async list(): Promise<docs.AccountsView> {
    return { accounts: (await this.accounts.list()).map(view) };
  }

  @Access({ needs: 'session', audit: 'account.create' })
  @Documented(docs.createAccount, { body: docs.newAccount })
  @Post('accounts')
  async create(@Body() body: unknown): Promise<docs.AccountView> {
    const account = validated(docs.newAccount, body);
    return view(
      await this.accounts.create({ ...account, displayName: account.displayName ?? account.email }),
    );
  }

  @Access({ needs: 'session', audit: 'account.change', subject: changedAccount })
  @Documented(docs.changeAccount, { body: docs.accountChanges })
  @Patch('accounts/:id')
  async change(@Param('id') id: string, @Body() body: unknown): Promise<docs.AccountView> {
    const changes = validated(docs.accountChanges, body);
    const account = isId(id) ? await this.accounts.change(id, changes) : undefined;
    if (account === undefined) throw new NotFoundException('There is no account of this id.');
    return view(account);
  }

  /** Changes the caller's own password. A wrong current password is no 401, because the session does not end. */
  @Access({ needs: 'session', everyAccount: true, audit: 'password.change' })
  @Documented(docs.changePassword, { body: docs.passwordChange })
  @Put('password')
  @HttpCode(204)
  async changePassword(
    @Body() body: unknown,
    @Req() request: FastifyRequest,
    @Ip() address: string,
  ): Promise<void> {
    const { currentPassword, newPassword } = validated(docs.passwordChange, body);
    const account = await this.login.verify(callerOf(request).email, currentPassword, address);
    if (account === undefined) throw new ForbiddenException('The current password is wrong.');
    await beginAudited(request, this.audit);
    await this.accounts.changePassword(account, newPassword, sessionToken(request) ?? '');
  }
}

function view({ id, email, displayName, administrator, active, createdOn }: Account): docs.AccountView {
  return { id, email, displayName, administrator, active, createdOn: createdOn.getTime() };
}

/** The account and the changed fields, without a new password or name. */
function changedAccount({ params, body }: FastifyRequest): string {
  const changes = Object.entries(body ?? {}).map(([name, value]) =>
    typeof value === 'boolean' ? `${name} ${value}` : name,
  );
  return `${(params as { id: string }).id}: ${changes.join(', ')}`;
}
