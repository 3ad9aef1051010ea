import { type DynamicModule, Module } from '@nestjs/common';
import { APP_FILTER } from '@nestjs/core';
import { TypeOrmModule } from '@nestjs/typeorm';
import type { DataSourceOptions } from 'typeorm';
import { SETTINGS, type Settings } from '#config';
import { errorSentence } from '#common';
import {
  databaseOptions,
  openDatabase,
  Schedule,
  ScheduleArchive,
  ScheduleRun,
  StoredRepository,
} from '#database';
import { Keys } from '#keys';
import { LOGGER, type Logger } from '#logging';
import { NotificationQueue, QueueModule, ScheduleQueue } from '#queue';
import { ObjectStore } from '#storage';
import { ArchiveReader } from './archives/archive-reader.js';
import { ArchiveSums } from './archives/archive-sums.js';
import { Archives } from './archives/archives.js';
import { ArchivesController } from './archives/archives.controller.js';
import { BucketListing } from './archives/bucket-listing.js';
import { AuditModule } from './audit/audit.module.js';
import { AuthModule } from './auth/auth.module.js';
import { ArchivePagesController } from './console/archive-pages.controller.js';
import { CheckPagesController } from './console/check-pages.controller.js';
import { DatabasePagesController } from './console/database-pages.controller.js';
import { DaemonPagesController } from './console/daemon-pages.controller.js';
import { Checks } from './checks/checks.js';
import { ChecksController } from './checks/checks.controller.js';
import { LoginController } from './console/login.controller.js';
import { OverviewController } from './console/overview.controller.js';
import { Pages } from './console/pages.js';
import { RepositoryPagesController } from './console/repository-pages.controller.js';
import { SchedulePagesController } from './console/schedule-pages.controller.js';
import { DaemonsController } from './daemons/daemons.controller.js';
import { Daemons } from './daemons/daemons.js';
import { History } from './daemons/history.js';
import { StatusStreams } from './daemons/status-streams.js';
import { WaitingJobs } from './daemons/waiting-jobs.js';
import { DatabasesController } from './databases/databases.controller.js';
import { HealthController } from './health/health.controller.js';
import { ReasonFilter } from './http/reason.js';
import { Metrics } from './metrics/metrics.js';
import { MetricsController } from './metrics/metrics.controller.js';
import { EndedDaemons } from './notifications/ended-daemons.js';
import { Notifications } from './notifications/notifications.js';
import { RepositoriesController } from './repositories/repositories.controller.js';
import { Repositories } from './repositories/repositories.js';
import { LostRows } from './schedules/lost-rows.js';
import { Pruning } from './schedules/pruning.js';
import { ScheduleAudit } from './schedules/schedule-audit.js';
import { nextTime } from './schedules/cron.js';
import { ScheduleClock } from './schedules/schedule-clock.js';
import { ScheduleRuns } from './schedules/schedule-runs.js';
import { SchedulesController } from './schedules/schedules.controller.js';
import { Schedules } from './schedules/schedules.js';
import { Workers } from './workers/workers.js';
import { WorkersController } from './workers/workers.controller.js';

const RETRY_EVERY_MS = 2_000;
/** Clients learn within two seconds that the database is down. */
const DATABASE_ANSWERS_WITHIN_MS = 1_500;
/** The retries of requests to the object store are short, because a client is waiting. */
const STORE_RETRY_MS = 5_000;

@Module({})
export class ApiModule {
  static with(settings: Settings, logger: Logger): DynamicModule {
    return {
      module: ApiModule,
      imports: [
        TypeOrmModule.forRootAsync({
          useFactory: () => ({
            ...databaseOptions(settings.databaseUrl),
            // The database may start after the API.
            retryAttempts: Number.MAX_SAFE_INTEGER,
            retryDelay: RETRY_EVERY_MS,
            toRetry: (error: Error) => {
              logger.warn({ reason: errorSentence(error) }, 'Waiting for the database at DATABASE_URL');
              return true;
            },
          }),
          dataSourceFactory: (options) =>
            openDatabase(options as DataSourceOptions, DATABASE_ANSWERS_WITHIN_MS),
        }),
        TypeOrmModule.forFeature([Schedule, ScheduleArchive, ScheduleRun, StoredRepository]),
        QueueModule.forRole('producer', settings, logger),
        AuditModule,
        AuthModule,
      ],
      controllers: [
        ArchivePagesController,
        ArchivesController,
        CheckPagesController,
        ChecksController,
        DaemonPagesController,
        DatabasePagesController,
        DaemonsController,
        DatabasesController,
        HealthController,
        LoginController,
        MetricsController,
        OverviewController,
        RepositoriesController,
        RepositoryPagesController,
        SchedulePagesController,
        SchedulesController,
        WorkersController,
      ],
      providers: [
        ArchiveReader,
        Archives,
        ArchiveSums,
        BucketListing,
        Checks,
        Daemons,
        EndedDaemons,
        History,
        LostRows,
        Metrics,
        Notifications,
        Pages,
        Pruning,
        Repositories,
        ScheduleAudit,
        ScheduleClock,
        ScheduleRuns,
        Schedules,
        StatusStreams,
        WaitingJobs,
        Workers,
        { provide: ScheduleQueue, useFactory: () => ScheduleQueue.open(settings.queueUrl, nextTime, logger) },
        {
          provide: NotificationQueue,
          inject: [Keys],
          useFactory: (keys: Keys) =>
            hasAddresses(settings) ? NotificationQueue.open(settings.queueUrl, keys, logger) : undefined,
        },
        { provide: APP_FILTER, useClass: ReasonFilter },
        { provide: SETTINGS, useValue: settings },
        { provide: Keys, useValue: new Keys(settings.secretKeys) },
        { provide: LOGGER, useValue: logger },
        {
          provide: ObjectStore,
          useFactory: () => new ObjectStore({ ...settings.store, retryForMs: STORE_RETRY_MS }),
        },
      ],
    };
  }
}

function hasAddresses({ notifications: { webhooks, deadman } }: Settings): boolean {
  return webhooks.length > 0 || deadman !== undefined;
}
