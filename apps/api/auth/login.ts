import { Injectable, UnauthorizedException } from '@nestjs/common';
import type { Account } from '#database';
import { Accounts } from './accounts.js';
import { LoginLimits } from './login-limits.js';

/** Checks emails and passwords, and how often somebody tries. */
@Injectable()
export class Login {
  constructor(
    private readonly accounts: Accounts,
    private readonly limits: LoginLimits,
  ) {}

  /** @throws UnauthorizedException, TooManyRequests */
  async check(email: string, password: string, address: string): Promise<Account> {
    await this.limits.count(email, address);
    const account = await this.accounts.withPassword(email, password);
    if (account === undefined) throw new UnauthorizedException('The email or the password is wrong.');
    await this.limits.forgive(email, address);
    return account;
  }
}
