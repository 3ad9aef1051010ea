import { setTimeout as sleep } from 'node:timers/promises';
import { hasEnded } from '#common';
import type { DaemonStatus } from '#contracts';
import type { Stack } from './stack.js';

const LOOK_EVERY_MS = 50;
const ORDER = ['STARTED', 'IN_PROGRESS', 'ended'];

/** Polls a job's status from its start until after its end. */
export class FollowedDaemon {
  readonly seen: DaemonStatus[] = [];
  private readonly times: number[] = [];
  private stopped = false;
  private readonly following: Promise<void>;

  constructor(
    private readonly stack: Stack,
    readonly id: string,
  ) {
    this.following = this.follow();
    this.following.catch(() => undefined); // stop() and until() report the error.
  }

  private async follow(): Promise<void> {
    while (!this.stopped) {
      const { status, body } = await this.stack.call<DaemonStatus>('GET', `/repo/v1/daemonStatus/${this.id}`);
      // The queue may be away for a while.
      if (status === 200) {
        this.seen.push(body);
        this.times.push(Date.now());
      }
      await sleep(LOOK_EVERY_MS);
    }
  }

  /** Waits for a later status that meets a condition or whose message matches. */
  async until(what: RegExp | ((status: DaemonStatus) => boolean)): Promise<DaemonStatus> {
    const fits =
      what instanceof RegExp ? ({ progresssMessage }: DaemonStatus) => what.test(progresssMessage) : what;
    for (let next = this.seen.length; ; next++) {
      while (next >= this.seen.length) await Promise.race([sleep(LOOK_EVERY_MS), this.following]);
      const status = this.seen[next];
      if (status !== undefined && fits(status)) return status;
      if (status !== undefined && hasEnded(status))
        throw new Error(`The job ended before that: ${JSON.stringify(status)}`);
    }
  }

  ended(): Promise<DaemonStatus> {
    return this.until(hasEnded);
  }

  /** The time of the first status whose message matches, in milliseconds since 1970. */
  timeOf(message: RegExp): number | undefined {
    return this.times[this.seen.findIndex(({ progresssMessage }) => message.test(progresssMessage))];
  }

  get messages(): string[] {
    return this.seen.map(({ progresssMessage }) => progresssMessage);
  }

  /** Stops polling. @throws Error if a status went back, or changed after the end */
  async stop(): Promise<void> {
    this.stopped = true;
    await this.following;
    const ranks = this.seen.map((status) => ORDER.indexOf(hasEnded(status) ? 'ended' : status.status));
    const end = this.seen[ranks.indexOf(2)];
    this.seen.forEach((status, at) => {
      const wentBack = (ranks[at] ?? 0) < (ranks[at - 1] ?? 0);
      if (wentBack || (ranks[at] === 2 && JSON.stringify(status) !== JSON.stringify(end)))
        throw new Error(`From ${JSON.stringify(this.seen[at - 1])} to ${JSON.stringify(status)}`);
    });
  }
}
