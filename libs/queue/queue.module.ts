import { BullModule, getQueueToken } from '@nestjs/bullmq';
import { type DynamicModule, Module } from '@nestjs/common';
import type { Settings } from '#config';
import { Keys } from '#keys';
import type { Logger } from '#logging';
import { type QueueRole, queueConnection } from './connection.js';
import { CheckRecords } from './check-records.js';
import { CHECK_QUEUE, DAEMON_QUEUE, type DaemonJobQueue } from './daemon-job.js';
import { DaemonQueue } from './daemon-queue.js';
import { DaemonReader } from './daemon-reader.js';
import { TakenJobs } from './taken-jobs.js';
import { KeptDatabases } from './kept-databases.js';
import { WORKER_QUEUE, type WorkerJobQueue } from './signed-records.js';
import { WorkerRegistry } from './worker-registry.js';

/** The queues of one process: the API produces, the worker consumes. */
@Module({})
export class QueueModule {
  static forRole(role: QueueRole, settings: Settings, logger: Logger): DynamicModule {
    const keys = new Keys(settings.secretKeys);
    // BullMQ reports a broken connection here; each request that fails has its own error too.
    const warn = (error: Error) => logger.warn({ reason: error.message }, 'The queue has an error');
    const side =
      role === 'producer'
        ? {
            provide: DaemonQueue,
            inject: [DaemonReader],
            useFactory: (reader: DaemonReader) => new DaemonQueue(reader, settings.daemonHistory, logger),
          }
        : {
            provide: TakenJobs,
            inject: [DaemonReader],
            useFactory: (reader: DaemonReader) => new TakenJobs(reader),
          };
    return {
      module: QueueModule,
      imports: [
        BullModule.forRootAsync({ useFactory: () => queueConnection(settings.queueUrl, role, logger) }),
        BullModule.registerQueue({ name: DAEMON_QUEUE }, { name: CHECK_QUEUE }, { name: WORKER_QUEUE }),
      ],
      providers: [
        {
          provide: DaemonReader,
          inject: [getQueueToken(DAEMON_QUEUE), getQueueToken(CHECK_QUEUE)],
          useFactory: async (queue: DaemonJobQueue, checks: DaemonJobQueue) => {
            queue.on('error', warn);
            checks.on('error', warn);
            // BullMQ tries this once. A queue that is not ready now ends the start.
            await queue.waitUntilReady();
            return new DaemonReader(queue, keys, checks);
          },
        },
        side,
        {
          provide: WorkerRegistry,
          inject: [getQueueToken(WORKER_QUEUE)],
          useFactory: (queue: WorkerJobQueue) => {
            queue.on('error', warn);
            return new WorkerRegistry(queue, keys);
          },
        },
        {
          provide: KeptDatabases,
          inject: [getQueueToken(WORKER_QUEUE)],
          useFactory: (queue: WorkerJobQueue) => new KeptDatabases(queue, keys),
        },
        {
          provide: CheckRecords,
          inject: [getQueueToken(WORKER_QUEUE)],
          useFactory: (queue: WorkerJobQueue) => new CheckRecords(queue, keys),
        },
      ],
      exports: [DaemonReader, side.provide, WorkerRegistry, KeptDatabases, CheckRecords, BullModule],
    };
  }
}
