import { Injectable, UnauthorizedException } from '@nestjs/common';
import { InjectRepository } from '@nestjs/typeorm';
import { Repository } from 'typeorm';
import { type Account, Session } from '#database';
import type { Caller } from './callers.js';
import { hashToken, newToken } from './tokens.js';

/** A session ends so long after it was last used. */
const LASTS = `interval '24 hours'`;
/** A session that is in use is prolonged this often at most, so that polling does not write at every call. */
const PROLONG_EVERY = `interval '1 minute'`;

/** The logins that have not ended. All times are the database's. */
@Injectable()
export class Sessions {
  constructor(@InjectRepository(Session) private readonly sessions: Repository<Session>) {}

  /**
   * Opens a session and gives its token, which is stored nowhere.
   * @throws UnauthorizedException when the account was deactivated, or its password changed, since it was looked up
   */
  async open({ id, passwordHash }: Account): Promise<string> {
    const token = newToken();
    await this.sessions.query('DELETE FROM snapshotd.session WHERE expires_on < now()');
    // The lock makes this wait for a change of the account, or that change wait for this and then end it.
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
   * Looks a token up by its hash: a lookup that takes longer for a nearly right hash tells nothing of the token.
   * @returns whose it is; undefined when there is no such session, or not any more
   */
  async accountOf(token: string): Promise<Caller | undefined> {
    // By hand, because every request asks this, and the query builder took longer than PostgreSQL.
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

  /** @returns false when there is no such session */
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
