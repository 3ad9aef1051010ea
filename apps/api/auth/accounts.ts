import { ConflictException, ForbiddenException, Injectable } from '@nestjs/common';
import { InjectRepository } from '@nestjs/typeorm';
import { Not, Repository } from 'typeorm';
import type { Secret } from '#config';
import { Account, ApiKey, Session } from '#database';
import { hashPassword, passwordFits } from './passwords.js';
import { hashToken } from './tokens.js';

export interface NewAccount {
  email: string;
  displayName: string;
  password: string;
  administrator: boolean;
}

/** What an administrator may change; what is missing stays as it is. */
export interface AccountChanges {
  displayName?: string | undefined;
  administrator?: boolean | undefined;
  active?: boolean | undefined;
  password?: string | undefined;
}

@Injectable()
export class Accounts {
  constructor(@InjectRepository(Account) private readonly accounts: Repository<Account>) {}

  /** Makes the first administrator, unless an account has that email: its password then stays what it is. */
  async ensureAdministrator({ email, password }: { email: string; password: Secret }): Promise<void> {
    if (await this.accounts.existsBy({ email: email.toLowerCase() })) return;
    // Another API that starts at the same time may be first.
    await this.insert({ email, displayName: email, password: password.reveal(), administrator: true });
  }

  list(): Promise<Account[]> {
    return this.accounts.find({ order: { id: 'ASC' } });
  }

  /** @throws ConflictException when there is an account of this email */
  async create(account: NewAccount): Promise<Account> {
    const created = await this.insert(account);
    if (created === undefined) throw new ConflictException('There is an account of this email already.');
    return created;
  }

  /**
   * Another password, or the end of being active, ends the account's sessions; the latter revokes its API keys too.
   * @returns undefined when there is no such account
   * @throws ConflictException when no active administrator would be left
   */
  async change(id: string, { password, ...changes }: AccountChanges): Promise<Account | undefined> {
    const passwordHash = password === undefined ? undefined : await hashPassword(password);
    return this.accounts.manager.transaction(async (manager) => {
      // All of them are locked, so that of two administrators who demote each other the second sees what the first did.
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
      if (passwordHash !== undefined || !account.active) await manager.delete(Session, { account: { id } });
      if (!account.active) await manager.delete(ApiKey, { account: { id } });
      return account;
    });
  }

  /**
   * Somebody changes their own password, which ends their sessions but for the one of this token.
   * @param account as it was when its current password was checked
   * @throws ForbiddenException when it has changed since
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
      await manager.delete(Session, { account: { id }, tokenHash: Not(hashToken(sessionToken)) });
    });
  }

  /**
   * @returns the active account whose email and password these are; in equal time whether there is one or not
   * @param address from where it is asked
   * @throws NoTurn when too many passwords wait to be checked: this one was not
   */
  async withPassword(email: string, password: string, address: string): Promise<Account | undefined> {
    // PostgreSQL has no texts with NUL, and so no such email.
    const account = email.includes('\0')
      ? null
      : await this.accounts.findOneBy({ email: email.toLowerCase(), active: true });
    const fits = await passwordFits(password, account?.passwordHash, address);
    return fits ? (account ?? undefined) : undefined;
  }

  /** @returns undefined when there is an account of this email */
  private async insert({ email, password, ...rest }: NewAccount): Promise<Account | undefined> {
    const passwordHash = await hashPassword(password);
    const account = this.accounts.create({ ...rest, email: email.toLowerCase(), passwordHash });
    const inserted = await this.accounts.createQueryBuilder().insert().values(account).orIgnore().execute();
    return (inserted.raw as unknown[]).length === 0 ? undefined : account;
  }
}
