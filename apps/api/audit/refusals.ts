import { type BeforeApplicationShutdown, Injectable, Logger } from '@nestjs/common';
import { errorSentence } from '#common';
import { Audit, type AuditedCall } from './audit.js';

/** How long refused calls of one account and action are counted before their number is recorded. */
const COUNTED_FOR_MS = 60_000;
/** Logins can name accounts that do not exist. Above this number of groups, calls are counted by action alone. */
const MOST_GROUPS = 100;

/** Refused calls of one account and action. */
interface Group {
  /** The last unrecorded call, and the number of unrecorded calls. */
  last?: { call: AuditedCall; status: number; count: number } | undefined;
  timer?: NodeJS.Timeout;
}

/**
 * Records calls that were refused before anything was done. The first one of an account and action is recorded at once,
 * those of the following minute as one event with their number. So neither an account without rights nor made-up
 * accounts can fill the disk. If the API is killed, the numbers of its last minute are lost.
 */
@Injectable()
export class Refusals implements BeforeApplicationShutdown {
  private readonly groups = new Map<string, Group>();

  private readonly logger = new Logger(Refusals.name);

  constructor(private readonly audit: Audit) {}

  /**
   * @param of the group to count the call in, if it is not the account
   * @throws AuditUnavailable if the first call of a group cannot be recorded
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

  /** Counts for a minute, and for another one if there were calls. */
  private count(name: string, group: Group): void {
    group.timer = setTimeout(() => {
      if (group.last === undefined) this.groups.delete(name);
      else void this.recordLast(group).then(() => this.count(name, group));
    }, COUNTED_FOR_MS).unref();
  }

  /** Records the unrecorded calls. If that fails, they stay counted for the next time. */
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
