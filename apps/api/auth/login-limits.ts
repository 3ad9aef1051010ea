import { createHash } from 'node:crypto';
import { Injectable } from '@nestjs/common';
import { DataSource } from 'typeorm';
import { TooManyRequests } from '../http/reason.js';
import { networkOf } from './network.js';

/** Of one email from one address. */
const TRIES = 10;
/** Of all emails from one address: who tries one password on many accounts. */
const TRIES_PER_ADDRESS = 100;
/** From the first of them on. */
const COUNTED_MS = 60_000;

/** The database's, in the unit of `login_limit.expire`: milliseconds since 1970. */
const NOW = '(extract(epoch FROM now()) * 1000)::bigint';

export class TooManyLogins extends TooManyRequests {
  constructor(
    reason: string,
    retryAfterSeconds: number,
    /** What has had too many. */
    readonly counted: 'email' | 'address',
  ) {
    super(`${reason} Try again in ${retryAfterSeconds} seconds.`, retryAfterSeconds);
  }
}

/** What a count is for: its points are the tries that it allows. */
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
 * How often somebody may try to log in. Tries are counted by email and address together, and by address: somebody who
 * guesses shuts out nobody but themselves. An email alone is not counted, or anybody could shut its owner out.
 * The counts are in the database and go by its clock, so that all replicas of the API count together.
 */
@Injectable()
export class LoginLimits {
  private clearedAt = -Infinity;

  constructor(private readonly database: DataSource) {}

  /** Counts a try before its password is looked at, so that no number of tries at once gets past. @throws TooManyLogins */
  async count(email: string, address: string): Promise<void> {
    const network = networkOf(address);
    await this.clear();
    // The address first: so it cannot fill the table with emails either.
    await this.consume(BY_ADDRESS, network);
    await this.consume(BY_EMAIL, email, network);
  }

  /** Takes back what was counted, for a try that was right. */
  async forgive(email: string, address: string): Promise<void> {
    const network = networkOf(address);
    await this.reward(BY_ADDRESS, network);
    await this.database.query('DELETE FROM snapshotd.login_limit WHERE key = $1', [
      keyOf(BY_EMAIL, email, network),
    ]);
  }

  /** Takes back what was counted for a try whose password was not looked at. */
  async giveBack(email: string, address: string): Promise<void> {
    const network = networkOf(address);
    await this.reward(BY_ADDRESS, network);
    await this.reward(BY_EMAIL, email, network);
  }

  /** A count whose end lies too far ahead was made by a wrong clock: it is over, as one whose end has passed. */
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
    // Never 0: a client would take it for an invitation.
    throw new TooManyLogins(limit.reason, Math.max(1, Math.ceil(left / 1_000)), limit.kind);
  }

  private async reward(limit: Limit, ...parts: string[]): Promise<void> {
    await this.database.query('UPDATE snapshotd.login_limit SET points = points - 1 WHERE key = $1', [
      keyOf(limit, ...parts),
    ]);
  }

  /** Deletes the counts that are over, once for each time that one lasts. */
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

/** Of one length, whatever was sent, and without the email. */
function keyOf({ kind }: Limit, ...parts: string[]): string {
  return `${kind}:${createHash('sha256').update(parts.join('\n').toLowerCase()).digest('base64url')}`;
}
