import { Injectable } from '@nestjs/common';
import { formatCount, hasEnded } from '#common';
import { type DaemonStatus, DEFAULT_REPOSITORY } from '#contracts';
import { DaemonReader, QueueUnavailable } from '#queue';
import { type Connected, Workers } from '../workers/workers.js';

const LOOK_EVERY_MS = 1_000;
/** A long queue is read less often: reading takes at most this share of the time. */
const LOOKING_SHARE = 0.05;

/** Says in the message of a job that no worker has what it waits for. Any number of statuses share one look at the queue. */
@Injectable()
export class WaitingJobs {
  /** How many waiting jobs are before each, by id. */
  private positions = new Map<string, number>();
  private active = 0;
  private lookAfter = -Infinity;
  private looking: Promise<void> | undefined;

  constructor(
    private readonly reader: DaemonReader,
    private readonly workers: Workers,
  ) {}

  /** Completes the message of a status. Leaves it as it is if the queue does not answer. */
  async explained(status: DaemonStatus): Promise<DaemonStatus> {
    if (hasEnded(status)) return status;
    try {
      const connected = await this.workers.connected(status.repository ?? DEFAULT_REPOSITORY);
      const nobody = nobodyFor(status, connected);
      if (status.status === 'IN_PROGRESS')
        return nobody === undefined
          ? status
          : { ...status, progresssMessage: `${nobody} (last: ${status.progresssMessage})` };
      if (nobody === undefined) await this.lookIfDue();
      const waitsFor = nobody ?? this.waitsFor(status.id, connected);
      return waitsFor === undefined ? status : { ...status, progresssMessage: waitsFor };
    } catch (error) {
      if (error instanceof QueueUnavailable) return status;
      throw error;
    }
  }

  /** @returns undefined for a job that a worker has, or is about to take */
  private waitsFor(id: string, { taking, capacity }: Connected): string | undefined {
    const position = this.positions.get(id);
    if (position === undefined) return undefined;
    if (taking === 0) return 'Waiting: no connected worker takes jobs';
    if (position < capacity - this.active) return undefined;
    const before = this.active + position;
    return `Waiting for a free worker: ${formatCount(before)} job${before === 1 ? '' : 's'} before it`;
  }

  private async lookIfDue(): Promise<void> {
    if (performance.now() < this.lookAfter) return;
    this.looking ??= this.look().finally(() => (this.looking = undefined));
    await this.looking;
  }

  private async look(): Promise<void> {
    const began = performance.now();
    const { waiting, active } = await this.reader.unended();
    this.positions = new Map(waiting.map((id, position) => [id, position]));
    this.active = active;
    const ended = performance.now();
    this.lookAfter = ended + Math.max(LOOK_EVERY_MS, (ended - began) / LOOKING_SHARE);
  }
}

/** @returns undefined if a worker serves the job's repository */
function nobodyFor(
  { repository = DEFAULT_REPOSITORY }: DaemonStatus,
  { count, serving }: Connected,
): string | undefined {
  if (count === 0) return 'Waiting: no worker is connected';
  return serving === 0 ? `Waiting: no connected worker serves the repository ${repository}` : undefined;
}
