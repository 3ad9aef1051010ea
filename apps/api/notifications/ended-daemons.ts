import {
  type BeforeApplicationShutdown,
  Inject,
  Injectable,
  type OnApplicationBootstrap,
} from '@nestjs/common';
import { DataSource } from 'typeorm';
import { errorSentence } from '#common';
import { databaseNow } from '#database';
import { LOGGER, type Logger } from '#logging';
import { DaemonReader, NotificationQueue } from '#queue';
import { Notifications } from './notifications.js';

/** How soon an end is noticed if its event was lost. */
const LOOK_EVERY_MS = 60_000;

/** The tolerated difference between the database's and a worker's clock. */
const CLOCKS_DIFFER_MS = 10 * 60_000;

/** Jobs that ended longer ago, while no API ran, are not notified. */
const LOOK_BACK_MS = 7 * 24 * 60 * 60_000;

/**
 * Notices ended jobs and queues a notification for each webhook. The database stores, by its own clock, up to which time
 * that was done, so nothing is missed while no API runs. The queue accepts each notification once, so any number of APIs
 * may run this.
 */
@Injectable()
export class EndedDaemons implements OnApplicationBootstrap, BeforeApplicationShutdown {
  private timer: NodeJS.Timeout | undefined;
  private looking = false;
  private lookAgain = false;

  constructor(
    private readonly daemons: DaemonReader,
    private readonly notifications: Notifications,
    // Missing if the settings name no address.
    @Inject(NotificationQueue) private readonly queue: NotificationQueue | undefined,
    private readonly database: DataSource,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  onApplicationBootstrap(): void {
    if (this.notifications.webhookNames.length === 0) return;
    const look = () => void this.look();
    this.queue?.watchEnds(look);
    this.timer = setInterval(look, LOOK_EVERY_MS);
    look();
  }

  beforeApplicationShutdown(): void {
    clearInterval(this.timer);
  }

  /** Looks for ended jobs, and once more if a job ends meanwhile. */
  private async look(): Promise<void> {
    this.lookAgain = true;
    if (this.looking) return;
    this.looking = true;
    try {
      while (this.lookAgain) {
        this.lookAgain = false;
        await this.tellOfEnds();
      }
    } catch (error) {
      this.logger.warn(
        { reason: errorSentence(error) },
        'Cannot notify webhooks of ended jobs at the moment',
      );
    } finally {
      this.looking = false;
    }
  }

  private async tellOfEnds(): Promise<void> {
    const now = await databaseNow(this.database);
    const since = await this.since(now);
    const earliest = Math.min(...since.values());
    for await (const { endedOn, status } of this.daemons.endedSince(earliest))
      for (const [webhook, from] of since)
        if (endedOn >= from) await this.notifications.daemonEnded(webhook, status);
    await this.database.query(
      `UPDATE snapshotd.webhook SET told_until = greatest(told_until, $2) WHERE name = ANY ($1)`,
      [[...since.keys()], new Date(now)],
    );
  }

  /** From when on each webhook is to be notified: never of jobs that ended before it was first set. */
  private async since(now: number): Promise<Map<string, number>> {
    const names = this.notifications.webhookNames;
    await this.database.query(
      `INSERT INTO snapshotd.webhook (name, first_set_on, told_until) SELECT unnest($1::text[]), $2, $2
           ON CONFLICT DO NOTHING`,
      [names, new Date(now)],
    );
    // Times in the future came from a wrong clock and count as now; otherwise nobody would be notified until then.
    await this.database.query(
      `UPDATE snapshotd.webhook
          SET first_set_on = least(first_set_on, now()), told_until = least(told_until, now())
        WHERE greatest(first_set_on, told_until) > now()`,
    );
    const rows = await this.database.query<{ name: string; first_set_on: Date; told_until: Date }[]>(
      'SELECT name, first_set_on, told_until FROM snapshotd.webhook WHERE name = ANY ($1)',
      [names],
    );
    return new Map(
      rows.map(({ name, first_set_on: first, told_until: until }) => {
        const from = Math.max(until.getTime() - CLOCKS_DIFFER_MS, now - LOOK_BACK_MS);
        return [name, Math.max(first.getTime(), from)];
      }),
    );
  }
}
