import { Injectable } from '@nestjs/common';
import type { Caller } from '../access/caller.js';
import { ApiKeys } from './api-keys.js';
import { LoginSessions } from './login-sessions.js';
import { hashToken, KEY_PREFIX } from './tokens.js';

/** How long the database's answer for a token is reused. Spares queries when clients poll. */
const GOOD_FOR_MS = 50;

/** Finds the account of a token, which belongs to a login session or is an API key. */
@Injectable()
export class Callers {
  /** The database's answers since `since`, by the tokens' hashes. */
  private recent = new Map<string, Promise<Caller | undefined>>();
  private since = -Infinity;

  constructor(
    private readonly sessions: LoginSessions,
    private readonly keys: ApiKeys,
  ) {}

  /**
   * Looks a token up. A session that another API ends stays valid here for at most GOOD_FOR_MS.
   * @returns undefined if there is no such session or key
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
    const asked = token.startsWith(KEY_PREFIX) ? this.keys.accountOf(token) : this.sessions.accountOf(token);
    recent.set(hash, asked);
    // A failed query must not fail the next caller.
    asked.catch(() => recent.delete(hash));
    return asked;
  }

  /** Forgets the database's answers. Call it if a session, a key or an account may have ended. */
  forget(): void {
    this.recent = new Map();
  }
}
