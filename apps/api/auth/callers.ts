import { Injectable } from '@nestjs/common';
import type { KeyScope } from '#contracts';
import type { Account } from '#database';
import { ApiKeys, looksLikeKey } from './api-keys.js';
import { Sessions } from './sessions.js';
import { hashToken } from './tokens.js';

/** The caller of a route. */
export type Caller = Pick<Account, 'id' | 'email' | 'administrator'> & {
  /** The API key that is used; missing in a session. */
  key?: { name: string; scope: KeyScope };
};

/** How long what the database said of a token is good for the next request: those who poll ask for more than that. */
const GOOD_FOR_MS = 50;

/** Tells by a token who asks: in a session, or with an API key. */
@Injectable()
export class Callers {
  /** By the tokens' hashes; none is older than `since`. */
  private recent = new Map<string, Promise<Caller | undefined>>();
  private since = -Infinity;

  constructor(
    private readonly sessions: Sessions,
    private readonly keys: ApiKeys,
  ) {}

  /**
   * @returns undefined when there is no such session or key, or not any more. What another API has ended may be good
   * for another GOOD_FOR_MS here.
   */
  accountOf(token: string): Promise<Caller | undefined> {
    const now = performance.now();
    if (now - this.since >= GOOD_FOR_MS) {
      this.forget();
      this.since = now;
    }
    const { recent } = this;
    const hash = hashToken(token).toString('base64');
    const known = recent.get(hash);
    if (known !== undefined) return known;
    const asked = looksLikeKey(token) ? this.keys.accountOf(token) : this.sessions.accountOf(token);
    recent.set(hash, asked);
    // One broken connection must not refuse the next caller.
    asked.catch(() => recent.delete(hash));
    return asked;
  }

  /** To be called when somebody may have ended a session, a key or an account. */
  forget(): void {
    this.recent = new Map();
  }
}
