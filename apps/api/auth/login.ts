import { Injectable, UnauthorizedException } from '@nestjs/common';
import type { Account } from '#database';
import { Audit } from '../audit/audit.js';
import { TooManyRequests } from '../http/reason.js';
import { Accounts } from './accounts.js';
import { LoginLimits, TooManyLogins } from './login-limits.js';
import { NoTurn } from './turns.js';

/** Checks emails and passwords, and how often somebody tries. */
@Injectable()
export class Login {
  constructor(
    private readonly accounts: Accounts,
    private readonly limits: LoginLimits,
    private readonly audit: Audit,
  ) {}

  /**
   * Checks a login, and records it before it is answered.
   * @throws UnauthorizedException, TooManyRequests, AuditUnavailable
   */
  async check(email: string, password: string, address: string): Promise<Account> {
    const login = { account: email, action: 'login', address };
    try {
      const account = await this.verify(email, password, address);
      await this.audit.record(login, account === undefined ? 401 : 201);
      if (account === undefined) throw new UnauthorizedException('The email or the password is wrong.');
      return account;
    } catch (error) {
      // The first refusal stands for all of a minute: whoever guesses must not fill the disk.
      if (error instanceof TooManyLogins && error.first) await this.audit.record(login, 429);
      throw error;
    }
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
      // Whoever is told to come again must not use up their tries by it.
      await this.limits.giveBack(email, address);
      throw new TooManyRequests('Too many log in at this moment. Try again in a second.', 1);
    }
  }
}
