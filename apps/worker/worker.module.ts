import { type DynamicModule, Module } from '@nestjs/common';
import type { Settings } from '#config';
import { Keys } from '#keys';
import type { Logger } from '#logging';
import { CheckRecords, KeptDatabases, QueueModule, TakenJobs, WorkerRegistry } from '#queue';
import { ObjectStore } from '#storage';
import { CheckProcessor } from './check.processor.js';
import { CheckRunner } from './check-runner.js';
import { DaemonProcessor } from './daemon.processor.js';
import { DaemonRunner } from './daemon-runner.js';
import { DatabaseSwaps } from './database-swaps.js';

@Module({})
export class WorkerModule {
  static with(settings: Settings, logger: Logger): DynamicModule {
    const store = new ObjectStore(settings.store);
    return {
      module: WorkerModule,
      imports: [QueueModule.forRole('worker', settings, logger)],
      providers: [
        {
          provide: CheckProcessor,
          inject: [TakenJobs, WorkerRegistry, CheckRecords],
          useFactory: (jobs: TakenJobs, registry: WorkerRegistry, records: CheckRecords) =>
            new CheckProcessor(
              new CheckRunner(settings, store, new Keys(settings.secretKeys), registry, records, logger),
              jobs,
              settings.workerRepositories,
              logger,
            ),
        },
        {
          provide: DaemonProcessor,
          inject: [TakenJobs, WorkerRegistry, KeptDatabases],
          useFactory: (jobs: TakenJobs, registry: WorkerRegistry, kept: KeptDatabases) =>
            new DaemonProcessor(
              new DaemonRunner(
                settings,
                store,
                new Keys(settings.secretKeys),
                new DatabaseSwaps(registry, kept),
                logger,
              ),
              jobs,
              registry,
              settings,
              logger,
            ),
        },
      ],
    };
  }
}
