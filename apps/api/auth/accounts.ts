import { ConflictException, ForbiddenException, Injectable } from '@nestjs/common';
import { InjectRepository } from '@nestjs/typeorm';
import { Not, Repository } from 'typeorm';
import type { Secret } from '#config';
import { Account, ApiKey, LoginSession } from '#database';
import type { AccountChanges } from './accounts.docs.js';
import { hashPassword, passwordFits } from './passwords.js';
import { hashToken } from './tokens.js';

export interface NewAccount {
  email: string;
  displayName: string;
  password: string;
  administrator: boolean;
}

@Injectable()
export class Accounts {
  constructor(@InjectRepository(Account) private readonly accounts: Repository<Account>) {}

  /** Creates the first administrator. An existing account of that email keeps its password. */
  async ensureAdministrator({ email, password }: { email: string; password: Secret }): Promise<void> {
    if (await this.accounts.existsBy({ email: email.toLowerCase() })) return;
    // Another API that starts at the same time may have inserted it: insert() ignores that.
    await this.insert({ email, displayName: email, password: password.reveal(), administrator: true });
  }

  list(): Promise<Account[]> {
    return this.accounts.find({ order: { id: 'ASC' } });
  }

  /** @throws ConflictException if there is an account of this email */
  async create(account: NewAccount): Promise<Account> {
    const created = await this.insert(account);
    if (created === undefined) throw new ConflictException('There is an account of this email already.');
    return created;
  }

  /**
   * Changes an account. A new password ends its sessions; deactivating it also revokes its API keys.
   * @returns undefined if there is no such account
   * @throws ConflictException if no active administrator would be left
   */
  async change(id: string, { password, ...changes }: AccountChanges): Promise<Account | undefined> {
    const passwordHash = password === undefined ? undefined : await hashPassword(password);
    return this.accounts.manager.transaction(async (manager) => {
      // Locks all administrators: if two demote each other at the same time, the second sees the first one's change.
      const administrators = await manager.find(Account, {
        select: { id: true },
        where: { administrator: true, active: true },
        order: { id: 'ASC' },
        lock: { mode: 'pessimistic_write' },
      });
      const account = await manager.findOne(Account, { where: { id }, lock: { mode: 'pessimistic_write' } });
      if (account === null) return undefined;
      Object.assign(account, changes, passwordHash !== undefined && { passwordHash });
      const staysOne = account.administrator && account.active;
      if (!staysOne && administrators.length === 1 && administrators[0]?.id === id)
        throw new ConflictException(
          'This is the last active administrator. Make another account an administrator first.',
        );
      await manager.save(account);
      if (passwordHash !== undefined || !account.active)
        await manager.delete(LoginSession, { account: { id } });
      if (!account.active) await manager.delete(ApiKey, { account: { id } });
      return account;
    });
  }

  /**
   * Changes an account's password and ends its sessions, except the one of this token.
   * @param account as it was when its current password was checked
   * @throws ForbiddenException if it has changed since
   */
  async changePassword(
    { id, passwordHash }: Account,
    newPassword: string,
    sessionToken: string,
  ): Promise<void> {
    const newHash = await hashPassword(newPassword);
    await this.accounts.manager.transaction(async (manager) => {
      const { affected } = await manager.update(
        Account,
        { id, active: true, passwordHash },
        { passwordHash: newHash },
      );
      if (affected !== 1) throw new ForbiddenException('The account has changed. Log in again.');
      await manager.delete(LoginSession, { account: { id }, tokenHash: Not(hashToken(sessionToken)) });
    });
  }

  /**
   * Checks an email and a password. Takes the same time for unknown emails.
   * @param address the client's
   * @returns the active account; undefined if email or password are wrong
   * @throws NoTurn if too many passwords are waiting to be checked
   */
  async withPassword(email: string, password: string, address: string): Promise<Account | undefined> {
    // PostgreSQL fails at texts with NUL.
    const account = email.includes('\0')
      ? null
      : await this.accounts.findOneBy({ email: email.toLowerCase(), active: true });
    const fits = await passwordFits(password, account?.passwordHash, address);
    return fits ? (account ?? undefined) : undefined;
  }

  /** @returns undefined if there is an account of this email */
  private async insert({ email, password, ...rest }: NewAccount): Promise<Account | undefined> {
    const passwordHash = await hashPassword(password);
    const account = this.accounts.create({ ...rest, email: email.toLowerCase(), passwordHash });
    const inserted = await this.accounts.createQueryBuilder().insert().values(account).orIgnore().execute();
    return (inserted.raw as unknown[]).length === 0 ? undefined : account;
  }
}
