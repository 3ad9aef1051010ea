import { BullModule, getQueueToken } from '@nestjs/bullmq';
import { type DynamicModule, Module } from '@nestjs/common';
import type { Settings } from '#config';
import { Keys } from '#keys';
import type { Logger } from '#logging';
import { type QueueRole, queueConnection } from './connection.js';
import { DAEMON_QUEUE, type DaemonJobQueue } from './daemon-job.js';
import { DaemonQueue } from './daemon-queue.js';
import { WORKER_QUEUE, type WorkerJobQueue, WorkerRegistry } from './worker-registry.js';

/** The queue of daemons, for one process: the API produces, the worker consumes. */
@Module({})
export class QueueModule {
  static forRole(role: QueueRole, settings: Settings, logger: Logger): DynamicModule {
    return {
      module: QueueModule,
      imports: [
        BullModule.forRootAsync({ useFactory: () => queueConnection(settings.queueUrl, role, logger) }),
        BullModule.registerQueue({ name: DAEMON_QUEUE }, { name: WORKER_QUEUE }),
      ],
      providers: [
        {
          provide: DaemonQueue,
          inject: [getQueueToken(DAEMON_QUEUE)],
          useFactory: async (queue: DaemonJobQueue) => {
            // BullMQ tries this once: what would never be ready does not start.
            await queue.waitUntilReady();
            return new DaemonQueue(queue, new Keys(settings.secretKeys), settings.daemonHistory, logger);
          },
        },
        {
          provide: WorkerRegistry,
          inject: [getQueueToken(WORKER_QUEUE)],
          useFactory: (queue: WorkerJobQueue) => {
            queue.on('error', (error) => logger.warn({ reason: error.message }, 'The queue has an error'));
            return new WorkerRegistry(queue, new Keys(settings.secretKeys));
          },
        },
      ],
      exports: [DaemonQueue, WorkerRegistry, BullModule],
    };
  }
}
