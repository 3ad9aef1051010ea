import { Injectable, UnauthorizedException } from '@nestjs/common';
import { InjectRepository } from '@nestjs/typeorm';
import { Repository } from 'typeorm';
import { type Account, LoginSession } from '#database';
import type { Caller } from '../access/caller.js';
import { hashToken, newToken } from './tokens.js';

/** The lifetime of a session after its last use. */
const LASTS = `interval '24 hours'`;
/** How often use prolongs a session, so that polling does not cause a write at every call. */
const PROLONG_EVERY = `interval '1 minute'`;

/** The sessions of people who have logged in. All times are the database's. */
@Injectable()
export class LoginSessions {
  constructor(@InjectRepository(LoginSession) private readonly sessions: Repository<LoginSession>) {}

  /**
   * Opens a session.
   * @returns its token, of which only a hash is stored
   * @throws UnauthorizedException if the account was deactivated, or its password changed, since it was looked up
   */
  async open({ id, passwordHash }: Account): Promise<string> {
    const token = newToken();
    await this.sessions.query('DELETE FROM snapshotd.session WHERE expires_on < now()');
    // The lock serializes this with changes of the account, which then end the session.
    const opened = await this.sessions.query<object[]>(
      `INSERT INTO snapshotd.session (token_hash, account_id, expires_on)
       SELECT $1, id, now() + ${LASTS} FROM snapshotd.account
        WHERE id = $2 AND active AND password_hash = $3 FOR SHARE
       RETURNING account_id`,
      [hashToken(token), id, passwordHash],
    );
    if (opened.length === 0) throw new UnauthorizedException('The account has changed. Log in again.');
    return token;
  }

  /**
   * Looks a token up by its hash, whose timing reveals nothing of the token.
   * @returns undefined if there is no such session
   */
  async accountOf(token: string): Promise<Caller | undefined> {
    // Plain SQL, because every request runs this and the query builder takes longer than PostgreSQL.
    const [session] = await this.sessions.query<(Caller & { aged: boolean })[]>(
      `SELECT a.id, a.email, a.administrator, s.expires_on < now() + ${LASTS} - ${PROLONG_EVERY} AS aged
         FROM snapshotd.session s JOIN snapshotd.account a ON a.id = s.account_id
        WHERE s.token_hash = $1 AND s.expires_on > now() AND a.active`,
      [hashToken(token)],
    );
    if (session === undefined) return undefined;
    const { id, email, administrator, aged } = session;
    if (aged) await this.prolong(token);
    return { id, email, administrator };
  }

  /** @returns false if there is no such session */
  async prolong(token: string): Promise<boolean> {
    const { affected } = await this.sessions
      .createQueryBuilder()
      .update({ expiresOn: () => `now() + ${LASTS}` })
      .where('token_hash = :hash AND expires_on > now()', { hash: hashToken(token) })
      .execute();
    return affected === 1;
  }

  async close(token: string): Promise<void> {
    await this.sessions.delete({ tokenHash: hashToken(token) });
  }
}
