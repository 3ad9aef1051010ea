import { Inject, Injectable } from '@nestjs/common';
import { hostname } from 'node:os';
import { LOGGER, type Logger } from '#logging';
import { Audit } from '../audit/audit.js';
import { answerFor } from '../http/reason.js';

/** What a schedule does by itself, and what people can do too: the audit calls it the same. */
export interface ScheduledAct {
  schedule: string;
  action: 'backup.start' | 'verify.start' | 'archive.delete';
  /** The archive that it is about. */
  subject?: string | undefined;
}

/** Records what schedules do as the calls of people are: before it is done, and again how it ended. */
@Injectable()
export class ScheduleAudit {
  constructor(
    private readonly audit: Audit,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  /**
   * Does what is on record.
   * @param work gives what it made, or nothing
   * @throws AuditUnavailable when it cannot be recorded, and so is not done; what `work` throws
   */
  async recorded<Made extends { id: string } | void>(
    { schedule, action, subject }: ScheduledAct,
    work: () => Promise<Made>,
  ): Promise<Made> {
    const account = `schedule ${schedule}`;
    // No client asked for it: it comes from the machine that the API runs on.
    const event = await this.audit.begin({ account, action, subject, address: hostname() });
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

  /** What was done is done: should this row fail, the event is there, and its outcome unknown. */
  private async ended(event: string, status: number, made?: string): Promise<void> {
    try {
      await this.audit.end(event, status, made);
    } catch (error) {
      this.logger.error(
        { err: error, event },
        "The outcome of a schedule's act could not be recorded in the audit",
      );
    }
  }
}
