import { createHash } from 'node:crypto';
import { Injectable } from '@nestjs/common';
import { DataSource } from 'typeorm';
import { TooManyRequests } from '../http/reason.js';
import { networkOf } from './network.js';

/** Logins with one email from one address. */
const TRIES = 10;
/** Logins from one address: limits clients that try one password on many accounts. */
const TRIES_PER_ADDRESS = 100;
/** The period of a count, from its first login on. */
const COUNTED_MS = 60_000;

/** The database's, in the unit of `login_limit.expire`: milliseconds since 1970. */
const NOW = '(extract(epoch FROM now()) * 1000)::bigint';

export class TooManyLogins extends TooManyRequests {
  constructor(
    reason: string,
    retryAfterSeconds: number,
    /** The limit that was exceeded. */
    readonly counted: 'email' | 'address',
  ) {
    super(`${reason} Try again in ${retryAfterSeconds} seconds.`, retryAfterSeconds);
  }
}

/** The number of logins that a count allows. */
interface Limit {
  kind: 'address' | 'email';
  tries: number;
  reason: string;
}

const BY_ADDRESS: Limit = {
  kind: 'address',
  tries: TRIES_PER_ADDRESS,
  reason: 'Too many failed logins from this address.',
};
const BY_EMAIL: Limit = {
  kind: 'email',
  tries: TRIES,
  reason: 'Too many logins with this email from this address.',
};

/**
 * Limits the rate of logins, by address and by email and address together. An email alone is not counted: anybody could
 * lock its owner out. The counts are in the database and use its clock, so all replicas of the API share them.
 */
@Injectable()
export class LoginLimits {
  private clearedAt = -Infinity;

  constructor(private readonly database: DataSource) {}

  /** Counts a login before its password is checked, so that parallel logins do not bypass the limit. @throws TooManyLogins */
  async count(email: string, address: string): Promise<void> {
    const network = networkOf(address);
    await this.clear();
    // The address first, so that one client cannot fill the table with emails.
    await this.consume(BY_ADDRESS, network);
    await this.consume(BY_EMAIL, email, network);
  }

  /** Resets the counts after a correct login. */
  async forgive(email: string, address: string): Promise<void> {
    const network = networkOf(address);
    await this.reward(BY_ADDRESS, network);
    await this.database.query('DELETE FROM snapshotd.login_limit WHERE key = $1', [
      keyOf(BY_EMAIL, email, network),
    ]);
  }

  /** Undoes `count` for a login whose password was not checked. */
  async giveBack(email: string, address: string): Promise<void> {
    const network = networkOf(address);
    await this.reward(BY_ADDRESS, network);
    await this.reward(BY_EMAIL, email, network);
  }

  /** Adds one. A count that ends too far in the future came from a wrong clock and counts as expired. */
  private async consume(limit: Limit, ...parts: string[]): Promise<void> {
    const [{ points, left } = { points: 1, left: 0 }] = await this.database.query<
      { points: number; left: number }[]
    >(
      `INSERT INTO snapshotd.login_limit AS counted (key, points, expire) VALUES ($1, 1, ${NOW} + $2)
           ON CONFLICT (key) DO UPDATE
              SET (points, expire) = (
                SELECT CASE WHEN goes_on THEN counted.points + 1 ELSE 1 END,
                       CASE WHEN goes_on THEN counted.expire ELSE excluded.expire END
                  FROM (SELECT counted.expire > ${NOW} AND counted.expire < excluded.expire + $2) AS is_it (goes_on))
        RETURNING points, (expire - ${NOW})::float8 AS left`,
      [keyOf(limit, ...parts), COUNTED_MS],
    );
    if (points <= limit.tries) return;
    // Never 0, which would mean: try again at once.
    throw new TooManyLogins(limit.reason, Math.max(1, Math.ceil(left / 1_000)), limit.kind);
  }

  private async reward(limit: Limit, ...parts: string[]): Promise<void> {
    await this.database.query('UPDATE snapshotd.login_limit SET points = points - 1 WHERE key = $1', [
      keyOf(limit, ...parts),
    ]);
  }

  /** Deletes expired counts, once per period. */
  private async clear(): Promise<void> {
    const now = performance.now();
    if (now - this.clearedAt < COUNTED_MS) return;
    this.clearedAt = now;
    await this.database.query(
      `DELETE FROM snapshotd.login_limit WHERE expire NOT BETWEEN ${NOW} AND ${NOW} + $1`,
      [2 * COUNTED_MS],
    );
  }
}

/** A hash, so that the key has a fixed length and does not contain the email. */
function keyOf({ kind }: Limit, ...parts: string[]): string {
  return `${kind}:${createHash('sha256').update(parts.join('\n').toLowerCase()).digest('base64url')}`;
}
