import { BadRequestException, ConflictException, ForbiddenException, Injectable } from '@nestjs/common';
import { InjectRepository } from '@nestjs/typeorm';
import { Repository } from 'typeorm';
import type { KeyScope } from '#contracts';
import { Account, ApiKey, databaseNow } from '#database';
import type { Caller } from '../access/caller.js';
import { hashToken, KEY_PREFIX, newToken } from './tokens.js';

export interface NewKey {
  name: string;
  scope: KeyScope;
  expiresOn: Date | null;
}

interface KeyRow extends Omit<Caller, 'key'> {
  key_id: string;
  name: string;
  scope: KeyScope;
  /** Whether its last use is to be recorded. */
  unmarked: boolean;
}

/** API keys for scripts. A key acts as the account that created it. */
@Injectable()
export class ApiKeys {
  constructor(@InjectRepository(ApiKey) private readonly keys: Repository<ApiKey>) {}

  /** Looks a key up by its hash. @returns undefined if it is unknown, revoked or expired */
  async accountOf(token: string): Promise<Caller | undefined> {
    const [key] = await this.keys.query<KeyRow[]>(
      `SELECT a.id, a.email, a.administrator, k.id AS key_id, k.name, k.scope,
              coalesce(k.last_used_on NOT BETWEEN now() - interval '1 minute' AND now(), true) AS unmarked
         FROM snapshotd.api_key k JOIN snapshotd.account a ON a.id = k.account_id
        WHERE k.key_hash = $1 AND a.active AND (k.expires_on IS NULL OR k.expires_on > now())`,
      [hashToken(token)],
    );
    if (key === undefined) return undefined;
    const { id, email, administrator, key_id: keyId, name, scope, unmarked } = key;
    // At most once a minute, so that a polling script does not cause a write at every call.
    if (unmarked) await this.keys.update({ id: keyId }, { lastUsedOn: () => 'now()' });
    return { id, email, administrator, key: { name, scope } };
  }

  list(): Promise<ApiKey[]> {
    return this.keys.find({ relations: { account: true }, order: { id: 'ASC' } });
  }

  /**
   * Creates a key.
   * @returns the stored key, and its text, which is not stored
   * @throws BadRequestException if it would have expired; ConflictException if the name is taken; ForbiddenException
   */
  async create(
    accountId: string,
    { name, scope, expiresOn }: NewKey,
  ): Promise<{ key: ApiKey; text: string }> {
    const text = KEY_PREFIX + newToken();
    const key = await this.keys.manager.transaction(async (manager) => {
      if (expiresOn !== null && !(expiresOn.getTime() > (await databaseNow(manager))))
        throw new BadRequestException('expiresOn: choose a time in the future, in milliseconds since 1970.');
      // The lock keeps an account that is being deactivated from leaving a key behind.
      const account = await manager.findOne(Account, {
        where: { id: accountId, active: true, administrator: true },
        lock: { mode: 'pessimistic_read' },
      });
      if (account === null) throw new ForbiddenException('Only administrators may do this.');
      const created = manager.create(ApiKey, { name, keyHash: hashToken(text), scope, account, expiresOn });
      const inserted = await manager
        .createQueryBuilder()
        .insert()
        .into(ApiKey)
        .values(created)
        .orIgnore()
        .execute();
      if ((inserted.raw as unknown[]).length === 0)
        throw new ConflictException('There is a key of this name. Revoke it, or choose another name.');
      return created;
    });
    return { key, text };
  }

  /** @returns false if there is no such key */
  async revoke(id: string): Promise<boolean> {
    const { affected } = await this.keys.delete({ id });
    return affected === 1;
  }
}
