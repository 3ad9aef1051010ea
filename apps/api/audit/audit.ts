import { Injectable, ServiceUnavailableException } from '@nestjs/common';
import { InjectRepository } from '@nestjs/typeorm';
import type { EntityManager, Repository } from 'typeorm';
import { AuditEvent, AuditOutcome } from '#database';

/** The longest possible email. */
const EMAIL_LENGTH = 320;
/** Enough for the URL of an archive whose name has 1024 bytes. */
const SUBJECT_LENGTH = 2048;

/** Refuses a call that cannot be recorded. */
export class AuditUnavailable extends ServiceUnavailableException {
  constructor(cause: unknown) {
    super('Nothing was done, because the audit cannot record it. Try again in a moment.', { cause });
  }
}

/** The record of a call. */
export interface AuditedCall {
  /** The caller's email, or `schedule NAME`. */
  account: string;
  /** The name of the API key. */
  key?: string | undefined;
  action: string;
  /** The thing that the call names: an id, an archive, an email. Never a secret. */
  subject?: string | undefined;
  /** The name of a repository that the call names. */
  repository?: string | undefined;
  /** The client's address. */
  address: string;
  /** The number of calls that this record stands for; one when missing. */
  count?: number;
}

export interface AuditFilter {
  action?: string | undefined;
  account?: string | undefined;
  repository?: string | undefined;
  since?: Date | undefined;
  limit: number;
  offset: number;
}

/**
 * The audit: who did what, from where, when, and the outcome. The database refuses to change or delete its rows, so the
 * outcome of an event is a separate row.
 */
@Injectable()
export class Audit {
  constructor(@InjectRepository(AuditEvent) private readonly events: Repository<AuditEvent>) {}

  /**
   * Records a call before it is done.
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

  /** Records the outcome. @param made the id of the thing that the call made */
  async end(eventId: string, status: number, made?: string): Promise<void> {
    await insertOutcome(this.events.manager, eventId, status, made);
  }

  /**
   * Records a call together with its outcome.
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

  /** A page of the events that match a filter, newest first, and their total. */
  async list({
    action,
    account,
    repository,
    since,
    limit,
    offset,
  }: AuditFilter): Promise<[AuditEvent[], number]> {
    const query = this.events
      .createQueryBuilder('event')
      .leftJoinAndSelect('event.outcome', 'outcome')
      .orderBy('event.id', 'DESC')
      .limit(limit)
      .offset(offset);
    if (action !== undefined) query.andWhere('event.action = :action', { action });
    if (account !== undefined) query.andWhere('event.account = :account', { account: accountName(account) });
    if (repository !== undefined) query.andWhere('event.repository = :repository', { repository });
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
    repository: call.repository ?? null,
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

/** Emails are case-insensitive; the names of schedules are not. */
function accountName(account: string): string {
  return account.startsWith('schedule ') ? account : account.toLowerCase();
}

/** Makes a client's text storable: without control characters, and cut to a length. */
function stored(text: string, maxLength: number): string {
  return text.slice(0, maxLength).replace(/\p{Cc}/gu, ' ');
}
