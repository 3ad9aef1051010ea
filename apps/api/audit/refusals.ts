import { type BeforeApplicationShutdown, Injectable, Logger } from '@nestjs/common';
import { errorSentence } from '#common';
import { Audit, type AuditedCall } from './audit.js';

/** For so long the refused calls of one account and action are counted, before their count is recorded. */
const COUNTED_FOR_MS = 60_000;
/** Logins can name accounts that do not exist: above this number of groups, calls are counted by action alone. */
const MOST_GROUPS = 100;

/** Refused calls of one account and action. */
interface Group {
  /** The last one that is not on record, which stands for all that are not. */
  last?: { call: AuditedCall; status: number; count: number } | undefined;
  timer?: NodeJS.Timeout;
}

/**
 * Records calls that were refused before anything was done. The first one of an account and action is recorded at once,
 * those of the minute after it as one event with their count, so that neither an account that may do nothing nor made-up
 * names of accounts can fill the disk. An API that is killed loses the counts of its last minute.
 */
@Injectable()
export class Refusals implements BeforeApplicationShutdown {
  private readonly groups = new Map<string, Group>();

  private readonly logger = new Logger(Refusals.name);

  constructor(private readonly audit: Audit) {}

  /**
   * @param of counts the refused calls of something else than the account together
   * @throws AuditUnavailable when it is the first one, and cannot be recorded
   */
  async record(call: AuditedCall, status: number, of = call.account): Promise<void> {
    const own = JSON.stringify([of.toLowerCase(), call.action]);
    const isOne = this.groups.has(own) || this.groups.size < MOST_GROUPS;
    const name = isOne ? own : JSON.stringify([call.action]);
    const known = this.groups.get(name);
    if (known !== undefined) {
      known.last = { call, status, count: (known.last?.count ?? 0) + 1 };
      return;
    }
    const group: Group = {};
    this.groups.set(name, group);
    try {
      await this.audit.record(call, status);
      this.count(name, group);
    } catch (error) {
      this.groups.delete(name);
      throw error;
    }
  }

  async beforeApplicationShutdown(): Promise<void> {
    for (const group of this.groups.values()) {
      clearTimeout(group.timer);
      await this.recordLast(group);
    }
  }

  /** Counts for a minute, and for another one as long as there is something to count. */
  private count(name: string, group: Group): void {
    group.timer = setTimeout(() => {
      if (group.last === undefined) this.groups.delete(name);
      else void this.recordLast(group).then(() => this.count(name, group));
    }, COUNTED_FOR_MS).unref();
  }

  /** Calls that cannot be recorded stay counted, and those that are refused meanwhile are added. */
  private async recordLast(group: Group): Promise<void> {
    const { last } = group;
    if (last === undefined) return;
    try {
      await this.audit.record({ ...last.call, count: last.count }, last.status);
      const later = (group.last?.count ?? 0) - last.count;
      group.last = group.last !== undefined && later > 0 ? { ...group.last, count: later } : undefined;
    } catch (error) {
      this.logger.error(`Cannot record ${last.count} refused calls in the audit: ${errorSentence(error)}`);
    }
  }
}
