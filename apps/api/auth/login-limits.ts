import { createHash } from 'node:crypto';
import { Injectable } from '@nestjs/common';
import { RateLimiterPostgres, RateLimiterRes } from 'rate-limiter-flexible';
import { DataSource } from 'typeorm';
import { OWN_SCHEMAS } from '#config';
import { TooManyRequests } from '../http/reason.js';
import { networkOf } from './network.js';

/** Of one email from one address. */
const TRIES = 10;
/** Of all emails from one address: who tries one password on many accounts. */
const TRIES_PER_ADDRESS = 100;
const PER_SECONDS = 60;

export class TooManyLogins extends TooManyRequests {
  constructor(
    reason: string,
    retryAfterSeconds: number,
    /** Whether nobody was refused before since the count began. */
    readonly first: boolean,
  ) {
    super(`${reason} Try again in ${retryAfterSeconds} seconds.`, retryAfterSeconds);
  }
}

/**
 * How often somebody may try to log in. Tries are counted by email and address together, and by address: somebody who
 * guesses shuts out nobody but themselves. An email alone is not counted, or anybody could shut its owner out.
 */
@Injectable()
export class LoginLimits {
  private readonly byAddress: RateLimiterPostgres;
  private readonly byEmail: RateLimiterPostgres;

  constructor(database: DataSource) {
    this.byAddress = limiter(database, 'address', TRIES_PER_ADDRESS);
    this.byEmail = limiter(database, 'email', TRIES);
  }

  /** Counts a try before its password is looked at, so that no number of tries at once gets past. @throws TooManyLogins */
  async count(email: string, address: string): Promise<void> {
    const network = networkOf(address);
    // The address first: so it cannot fill the table with emails either.
    await consume(this.byAddress, keyOf(network), 'Too many failed logins from this address.');
    await consume(this.byEmail, keyOf(email, network), 'Too many logins with this email from this address.');
  }

  /** Takes back what was counted, for a try that was right. */
  async forgive(email: string, address: string): Promise<void> {
    const network = networkOf(address);
    await this.byAddress.reward(keyOf(network));
    await this.byEmail.delete(keyOf(email, network));
  }

  /** Takes back what was counted for a try whose password was not looked at. */
  async giveBack(email: string, address: string): Promise<void> {
    const network = networkOf(address);
    await this.byAddress.reward(keyOf(network));
    await this.byEmail.reward(keyOf(email, network));
  }
}

/** Counts in the database, so that all replicas of the API count together. */
function limiter(database: DataSource, keyPrefix: string, points: number): RateLimiterPostgres {
  return new RateLimiterPostgres({
    storeClient: database,
    storeType: 'typeorm',
    schemaName: OWN_SCHEMAS.accounts,
    tableName: 'login_limit',
    tableCreated: true,
    keyPrefix,
    points,
    duration: PER_SECONDS,
  });
}

async function consume(limit: RateLimiterPostgres, key: string, reason: string): Promise<void> {
  try {
    await limit.consume(key);
  } catch (error) {
    if (!(error instanceof RateLimiterRes)) throw error;
    // Never 0: a client would take it for an invitation.
    const seconds = Math.max(1, Math.ceil(error.msBeforeNext / 1000));
    throw new TooManyLogins(reason, seconds, error.consumedPoints === limit.points + 1);
  }
}

/** Of one length, whatever was sent, and without the email. */
function keyOf(...parts: string[]): string {
  return createHash('sha256').update(parts.join('\n').toLowerCase()).digest('base64url');
}
