import { createHash, randomBytes } from 'node:crypto';
import { Injectable } from '@nestjs/common';
import { InjectRepository } from '@nestjs/typeorm';
import { LessThan, MoreThan, Repository } from 'typeorm';
import { type Account, Session } from '#database';

/** A session ends so long after it was last used. */
export const SESSION_MS = 24 * 60 * 60 * 1000;
/** A session that is in use is prolonged this often at most, so that polling does not write at every call. */
const PROLONG_EVERY_MS = 60_000;

/** Whoever asks. */
export type Caller = Pick<Account, 'email' | 'administrator'>;

@Injectable()
export class Sessions {
  constructor(@InjectRepository(Session) private readonly sessions: Repository<Session>) {}

  /** Opens a session and gives its token, which is stored nowhere. */
  async open(account: Account): Promise<string> {
    const token = randomBytes(32).toString('base64url');
    await this.sessions.delete({ expiresOn: LessThan(new Date()) });
    await this.sessions.insert({
      tokenHash: hashToken(token),
      account: { id: account.id },
      expiresOn: expiry(),
    });
    return token;
  }

  /**
   * Looks a token up by its hash: a lookup that takes longer for a nearly right hash tells nothing of the token.
   * @returns whose it is; undefined when there is no such session, or not any more
   */
  async accountOf(token: string): Promise<Caller | undefined> {
    // By hand, because every request asks this, and the query builder took longer than PostgreSQL.
    const [session] = await this.sessions.query<(Caller & { expires_on: Date })[]>(
      `SELECT a.email, a.administrator, s.expires_on
         FROM snapshotd.session s JOIN snapshotd.account a ON a.id = s.account_id
        WHERE s.token_hash = $1 AND s.expires_on > $2`,
      [hashToken(token), new Date()],
    );
    if (session === undefined) return undefined;
    const { email, administrator, expires_on: expiresOn } = session;
    if (expiresOn.getTime() < Date.now() + SESSION_MS - PROLONG_EVERY_MS) await this.prolong(token);
    return { email, administrator };
  }

  /** @returns false when there is no such session */
  async prolong(token: string): Promise<boolean> {
    const { affected } = await this.sessions.update(
      { tokenHash: hashToken(token), expiresOn: MoreThan(new Date()) },
      { expiresOn: expiry() },
    );
    return affected === 1;
  }

  async close(token: string): Promise<void> {
    await this.sessions.delete({ tokenHash: hashToken(token) });
  }
}

function expiry(): Date {
  return new Date(Date.now() + SESSION_MS);
}

function hashToken(token: string): Buffer {
  return createHash('sha256').update(token).digest();
}
