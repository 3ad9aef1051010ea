import { Injectable, UnauthorizedException } from '@nestjs/common';
import type { Account } from '#database';
import { Audit } from '../audit/audit.js';
import { Refusals } from '../audit/refusals.js';
import { TooManyRequests } from '../http/reason.js';
import { Accounts } from './accounts.js';
import { LoginLimits, TooManyLogins } from './login-limits.js';
import { networkOf } from './network.js';
import { NoTurn } from './turns.js';

/** Checks emails and passwords, within the limits. */
@Injectable()
export class Login {
  constructor(
    private readonly accounts: Accounts,
    private readonly limits: LoginLimits,
    private readonly audit: Audit,
    private readonly refusals: Refusals,
  ) {}

  /**
   * Checks a login and records it in the audit before it is answered.
   * @throws UnauthorizedException, TooManyRequests, AuditUnavailable
   */
  async check(email: string, password: string, address: string): Promise<Account> {
    const login = { account: email, action: 'login', address };
    try {
      const account = await this.verify(email, password, address);
      if (account !== undefined) {
        await this.audit.record(login, 201);
        return account;
      }
    } catch (error) {
      // One client may try any number of emails: they count as one.
      if (error instanceof TooManyLogins)
        await this.refusals.record(login, 429, error.counted === 'address' ? networkOf(address) : email);
      throw error;
    }
    await this.refusals.record(login, 401);
    throw new UnauthorizedException('The email or the password is wrong.');
  }

  /**
   * @returns undefined if the email or the password is wrong
   * @throws TooManyRequests
   */
  async verify(email: string, password: string, address: string): Promise<Account | undefined> {
    await this.limits.count(email, address);
    try {
      const account = await this.accounts.withPassword(email, password, address);
      if (account !== undefined) await this.limits.forgive(email, address);
      return account;
    } catch (error) {
      if (!(error instanceof NoTurn)) throw error;
      // The answer asks the client to retry, so this attempt must not count.
      await this.limits.giveBack(email, address);
      throw new TooManyRequests('Too many logins at this moment. Try again in a second.', 1);
    }
  }
}
