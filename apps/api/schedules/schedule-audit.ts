import { Inject, Injectable } from '@nestjs/common';
import { hostname } from 'node:os';
import { LOGGER, type Logger } from '#logging';
import { Audit } from '../audit/audit.js';
import { answerFor } from '../http/reason.js';

/** An action of a schedule. The audit gives it the same name as the action of a person. */
export interface ScheduledAct {
  schedule: string;
  action: 'backup.start' | 'verify.start' | 'restore.start' | 'database.drop' | 'archive.delete';
  /** The archive of the action. */
  subject?: string | undefined;
  repository: string;
}

/** Records the actions of schedules in the audit, before they are done, and their outcomes. */
@Injectable()
export class ScheduleAudit {
  constructor(
    private readonly audit: Audit,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  /**
   * Records an action, does it, and records its outcome.
   * @throws AuditUnavailable if it cannot be recorded, and is therefore not done; the error of `work`
   */
  async recorded<Made extends { id: string } | void>(
    { schedule, action, subject, repository }: ScheduledAct,
    work: () => Promise<Made>,
  ): Promise<Made> {
    const account = `schedule ${schedule}`;
    // There is no client: the address is the API's host name.
    const event = await this.audit.begin({ account, action, subject, repository, address: hostname() });
    try {
      const made = await work();
      if (typeof made === 'object') await this.ended(event, 201, made.id);
      else await this.ended(event, 204);
      return made;
    } catch (error) {
      await this.ended(event, answerFor(error).status);
      throw error;
    }
  }

  /** The action is already done: if its outcome cannot be recorded, the event shows `unknown`. */
  private async ended(event: string, status: number, made?: string): Promise<void> {
    try {
      await this.audit.end(event, status, made);
    } catch (error) {
      this.logger.error(
        { err: error, event },
        "Cannot record the outcome of a schedule's action in the audit",
      );
    }
  }
}
