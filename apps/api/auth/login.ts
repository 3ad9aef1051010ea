import { Injectable, UnauthorizedException } from '@nestjs/common';
import type { Account } from '#database';
import { Audit } from '../audit/audit.js';
import { Refusals } from '../audit/refusals.js';
import { TooManyRequests } from '../http/reason.js';
import { Accounts } from './accounts.js';
import { LoginLimits, TooManyLogins } from './login-limits.js';
import { networkOf } from './network.js';
import { NoTurn } from './turns.js';

/** Checks emails and passwords, and how often somebody tries. */
@Injectable()
export class Login {
  constructor(
    private readonly accounts: Accounts,
    private readonly limits: LoginLimits,
    private readonly audit: Audit,
    private readonly refusals: Refusals,
  ) {}

  /**
   * Checks a login, and records it before it is answered: one that is refused as Refusals does.
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
      // An address may go through any number of emails.
      if (error instanceof TooManyLogins)
        await this.refusals.record(login, 429, error.counted === 'address' ? networkOf(address) : email);
      throw error;
    }
    await this.refusals.record(login, 401);
    throw new UnauthorizedException('The email or the password is wrong.');
  }

  /**
   * @returns undefined when the email or the password is wrong
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
      // A client that is told to come again must not use up its tries by it.
      await this.limits.giveBack(email, address);
      throw new TooManyRequests('Too many log in at this moment. Try again in a second.', 1);
    }
  }
}
