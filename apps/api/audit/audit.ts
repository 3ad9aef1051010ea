import { Injectable, ServiceUnavailableException } from '@nestjs/common';
import { InjectRepository } from '@nestjs/typeorm';
import type { EntityManager, Repository } from 'typeorm';
import { AuditEvent, AuditOutcome } from '#database';

/** The longest that an email can be. */
const EMAIL_LENGTH = 320;
/** A URL with an archive's name of 1024 bytes, and some more. */
const SUBJECT_LENGTH = 2048;

/** What cannot be recorded is not done. */
export class AuditUnavailable extends ServiceUnavailableException {
  constructor(cause: unknown) {
    super('This cannot be recorded in the audit, and so it was not done. Try again in a moment.', { cause });
  }
}

/** What is recorded of a call. */
export interface AuditedCall {
  /** The email of who asks, or `schedule NAME`. */
  account: string;
  /** The name of the API key that is used. */
  key?: string | undefined;
  action: string;
  /** What the call names: an id, an archive, an email. Never a secret. */
  subject?: string | undefined;
  /** Where it comes from. */
  address: string;
  /** How many calls it stands for; one when missing. */
  count?: number;
}

export interface AuditFilter {
  action?: string | undefined;
  account?: string | undefined;
  since?: Date | undefined;
  limit: number;
  offset: number;
}

/**
 * Who did what, from where, when, and how it ended. Rows are only ever added: the database refuses all else. So an
 * event that is recorded before it happens gets its outcome as a row of its own.
 */
@Injectable()
export class Audit {
  constructor(@InjectRepository(AuditEvent) private readonly events: Repository<AuditEvent>) {}

  /**
   * Records what is about to be done.
   * @returns the event's id
   * @throws AuditUnavailable
   */
  async begin(call: AuditedCall): Promise<string> {
    try {
      return await insertEvent(this.events.manager, call);
    } catch (error) {
      throw new AuditUnavailable(error);
    }
  }

  /** @param made the id of what the call made */
  async end(eventId: string, status: number, made?: string): Promise<void> {
    await insertOutcome(this.events.manager, eventId, status, made);
  }

  /**
   * Records what has its outcome already: nothing is left to be done, or nothing without this.
   * @throws AuditUnavailable
   */
  async record(call: AuditedCall, status: number): Promise<void> {
    try {
      await this.events.manager.transaction(async (manager) => {
        await insertOutcome(manager, await insertEvent(manager, call), status);
      });
    } catch (error) {
      throw new AuditUnavailable(error);
    }
  }

  /** The newest first, with the number of all that the filter lets through. */
  async list({ action, account, since, limit, offset }: AuditFilter): Promise<[AuditEvent[], number]> {
    const query = this.events
      .createQueryBuilder('event')
      .leftJoinAndSelect('event.outcome', 'outcome')
      .orderBy('event.id', 'DESC')
      .limit(limit)
      .offset(offset);
    if (action !== undefined) query.andWhere('event.action = :action', { action });
    if (account !== undefined) query.andWhere('event.account = :account', { account: accountName(account) });
    if (since !== undefined) query.andWhere('event.happenedOn >= :since', { since });
    return query.getManyAndCount();
  }
}

async function insertEvent(manager: EntityManager, call: AuditedCall): Promise<string> {
  const event = manager.create(AuditEvent, {
    account: stored(accountName(call.account), EMAIL_LENGTH),
    keyName: call.key ?? null,
    action: call.action,
    subject: call.subject === undefined ? null : stored(call.subject, SUBJECT_LENGTH),
    address: call.address,
    count: call.count ?? 1,
  });
  await manager.insert(AuditEvent, event);
  return event.id;
}

async function insertOutcome(
  manager: EntityManager,
  eventId: string,
  status: number,
  made?: string,
): Promise<void> {
  await manager.insert(AuditOutcome, { eventId, status, made: made ?? null });
}

/** Emails are the same in capitals; the names of schedules are not. */
function accountName(account: string): string {
  return account.startsWith('schedule ') ? account : account.toLowerCase();
}

/** What clients wrote, as PostgreSQL takes it: no NUL, and no more than is needed to know it again. */
function stored(text: string, maxLength: number): string {
  return text.slice(0, maxLength).replace(/\p{Cc}/gu, ' ');
}
