import { Injectable } from '@nestjs/common';
import type { KeyScope } from '#contracts';
import type { Account } from '#database';
import { ApiKeys, looksLikeKey } from './api-keys.js';
import { Sessions } from './sessions.js';

/** Whoever asks. */
export type Caller = Pick<Account, 'id' | 'email' | 'administrator'> & {
  /** The API key that is used; missing in a session. */
  key?: { name: string; scope: KeyScope };
};

/** Tells by a token who asks: in a session, or with an API key. */
@Injectable()
export class Callers {
  constructor(
    private readonly sessions: Sessions,
    private readonly keys: ApiKeys,
  ) {}

  /** @returns undefined when there is no such session or key, or not any more */
  accountOf(token: string): Promise<Caller | undefined> {
    return looksLikeKey(token) ? this.keys.accountOf(token) : this.sessions.accountOf(token);
  }
}
