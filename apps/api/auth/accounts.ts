import { Injectable } from '@nestjs/common';
import { InjectRepository } from '@nestjs/typeorm';
import { Repository } from 'typeorm';
import type { Secret } from '#config';
import { Account } from '#database';
import { hashPassword, passwordFits } from './passwords.js';

@Injectable()
export class Accounts {
  constructor(@InjectRepository(Account) private readonly accounts: Repository<Account>) {}

  /** Makes the first administrator, unless an account has that email: its password then stays what it is. */
  async ensureAdministrator({ email, password }: { email: string; password: Secret }): Promise<void> {
    const lowerEmail = email.toLowerCase();
    if (await this.accounts.existsBy({ email: lowerEmail })) return;
    await this.accounts
      .createQueryBuilder()
      .insert()
      .values({
        email: lowerEmail,
        displayName: email,
        passwordHash: await hashPassword(password.reveal()),
        administrator: true,
      })
      .orIgnore() // Another API that starts at the same time may be first.
      .execute();
  }

  /**
   * @returns the account whose email and password these are; in equal time whether the email exists or not
   * @throws TooManyRequests when too many passwords wait to be checked
   */
  async withPassword(email: string, password: string): Promise<Account | undefined> {
    // PostgreSQL has no texts with NUL, and so no such email.
    const account = email.includes('\0')
      ? null
      : await this.accounts.findOneBy({ email: email.toLowerCase() });
    return (await passwordFits(password, account?.passwordHash)) ? (account ?? undefined) : undefined;
  }
}
