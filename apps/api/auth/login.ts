import { createHash } from 'node:crypto';
import { Injectable, UnauthorizedException } from '@nestjs/common';
import { RateLimiterPostgres, RateLimiterRes } from 'rate-limiter-flexible';
import { DataSource } from 'typeorm';
import { OWN_SCHEMAS } from '#config';
import type { Account } from '#database';
import { TooManyRequests } from '../http/reason.js';
import { Accounts } from './accounts.js';

const TRIES = 10;
const PER_SECONDS = 60;

/** Checks emails and passwords, and how often somebody tries. */
@Injectable()
export class Login {
  private readonly limiter: RateLimiterPostgres;

  constructor(
    private readonly accounts: Accounts,
    database: DataSource,
  ) {
    // Counted in the database, so that all replicas of the API count together.
    this.limiter = new RateLimiterPostgres({
      storeClient: database,
      storeType: 'typeorm',
      schemaName: OWN_SCHEMAS.accounts,
      tableName: 'login_limit',
      tableCreated: true,
      points: TRIES,
      duration: PER_SECONDS,
    });
  }

  /**
   * Tries are counted by email and address together: somebody who guesses shuts out nobody but themselves.
   * @throws UnauthorizedException, TooManyRequests
   */
  async check(email: string, password: string, address: string): Promise<Account> {
    const key = createHash('sha256').update(`${email.toLowerCase()}\n${address}`).digest('base64url');
    try {
      await this.limiter.consume(key);
    } catch (error) {
      if (!(error instanceof RateLimiterRes)) throw error;
      const seconds = Math.ceil(error.msBeforeNext / 1000);
      throw new TooManyRequests(
        `Too many logins with this email from this address. Try again in ${seconds} seconds.`,
        seconds,
      );
    }
    const account = await this.accounts.withPassword(email, password);
    if (account === undefined) throw new UnauthorizedException('The email or the password is wrong.');
    await this.limiter.delete(key);
    return account;
  }
}
