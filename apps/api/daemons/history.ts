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
import { DaemonQueue, NotificationQueue } from '#queue';

const LOOK_EVERY_MS = 15_000;

/** Removes old jobs from the queues. Uses the database's clock, because those of workers and APIs may be wrong. */
@Injectable()
export class History implements OnApplicationBootstrap, BeforeApplicationShutdown {
  private timer: NodeJS.Timeout | undefined;

  constructor(
    private readonly daemons: DaemonQueue,
    // Missing if the settings name no address.
    @Inject(NotificationQueue) private readonly notifications: NotificationQueue | undefined,
    private readonly database: DataSource,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  onApplicationBootstrap(): void {
    this.timer = setInterval(() => void this.forget(), LOOK_EVERY_MS);
  }

  beforeApplicationShutdown(): void {
    clearInterval(this.timer);
  }

  private async forget(): Promise<void> {
    try {
      const now = await databaseNow(this.database);
      await this.daemons.forget(now);
      await this.notifications?.forget(now);
    } catch (error) {
      this.logger.warn({ reason: errorSentence(error) }, 'Cannot remove old jobs at the moment');
    }
  }
}
