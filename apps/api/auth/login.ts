import { createHash } from 'node:crypto';
import { Injectable, UnauthorizedException } from '@nestjs/common';
import { RateLimiterPostgres, RateLimiterRes } from 'rate-limiter-flexible';
import { DataSource } from 'typeorm';
import { OWN_SCHEMAS } from '#config';
import type { Account } from '#database';
import { Audit } from '../audit/audit.js';
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
    private readonly audit: Audit,
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
   * Checks a login, and records it before it is answered.
   * @throws UnauthorizedException, TooManyRequests, AuditUnavailable
   */
  async check(email: string, password: string, address: string): Promise<Account> {
    const account = await this.verify(email, password, address);
    await this.audit.record({ account: email, action: 'login', address }, account === undefined ? 401 : 201);
    if (account === undefined) throw new UnauthorizedException('The email or the password is wrong.');
    return account;
  }

  /**
   * Tries are counted by email and address together: somebody who guesses shuts out nobody but themselves.
   * @returns undefined when the email or the password is wrong
   * @throws TooManyRequests
   */
  async verify(email: string, password: string, address: string): Promise<Account | undefined> {
    const key = createHash('sha256').update(`${email.toLowerCase()}\n${address}`).digest('base64url');
    try {
      await this.limiter.consume(key);
    } catch (error) {
      if (!(error instanceof RateLimiterRes)) throw error;
      // The first of those that are refused stands for all: whoever guesses must not fill the disk.
      if (error.consumedPoints === TRIES + 1)
        await this.audit.record({ account: email, action: 'login', address }, 429);
      const seconds = Math.ceil(error.msBeforeNext / 1000);
      throw new TooManyRequests(
        `Too many logins with this email from this address. Try again in ${seconds} seconds.`,
        seconds,
      );
    }
    const account = await this.accounts.withPassword(email, password);
    if (account !== undefined) await this.limiter.delete(key);
    return account;
  }
}
