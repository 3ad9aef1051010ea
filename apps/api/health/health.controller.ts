import { once } from 'node:events';
import { Controller, Get, Inject, Res } from '@nestjs/common';
import type { FastifyReply } from 'fastify';
import { DataSource } from 'typeorm';
import { withTimeout } from '#common';
import { LOGGER, type Logger } from '#logging';
import { DaemonQueue } from '#queue';
import { ObjectStore } from '#storage';
import { Access } from '../access/access.decorator.js';
import { Documented } from '../docs/documented.js';
import { Workers } from '../workers/workers.js';
import * as docs from './health.docs.js';

const ANSWER_WITHIN_MS = 2_000;
/** Anybody may ask, and each request to the object store costs money. */
const ASK_STORE_EVERY_MS = 5_000;

/** For load balancers and orchestrators. Open, so the answers contain nothing private. */
@Controller('health')
export class HealthController {
  /** The last answer of the object store. */
  private bucket: { state: Promise<docs.State>; askedAt: number } | undefined;

  constructor(
    private readonly database: DataSource,
    private readonly daemons: DaemonQueue,
    private readonly store: ObjectStore,
    private readonly workers: Workers,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  @Access({ needs: 'nothing' })
  @Documented(docs.live)
  @Get('live')
  live(): docs.Liveness {
    return { status: 'up' };
  }

  /** Depends on database and queue only: an outage of the bucket must not take the API out of service. */
  @Access({ needs: 'nothing' })
  @Documented(docs.ready)
  @Get('ready')
  async ready(@Res({ passthrough: true }) reply: FastifyReply): Promise<docs.Readiness> {
    const [database, queue, bucket] = await Promise.all([
      this.stateOf('database', () => this.database.query('SELECT 1')),
      this.stateOf('queue', () => this.daemons.check()),
      this.stateOfBucket(),
    ]);
    const status: docs.State = database === 'up' && queue === 'up' ? 'up' : 'down';
    void reply.status(status === 'up' ? 200 : 503);
    return { status, database, queue, bucket, workers: this.workers.summary() ?? null };
  }

  /** Asks the object store, or reuses an answer of the last ASK_STORE_EVERY_MS. */
  private stateOfBucket(): Promise<docs.State> {
    const now = performance.now();
    if (this.bucket === undefined || now - this.bucket.askedAt >= ASK_STORE_EVERY_MS)
      this.bucket = { state: this.stateOf('bucket', (signal) => this.store.check(signal)), askedAt: now };
    return this.bucket.state;
  }

  private async stateOf(name: string, ask: (signal: AbortSignal) => Promise<unknown>): Promise<docs.State> {
    const late = () => new Error(`No answer within ${ANSWER_WITHIN_MS} ms`);
    try {
      await withTimeout(ANSWER_WITHIN_MS, undefined, late, (signal) =>
        Promise.race([ask(signal), once(signal, 'abort').then(() => signal.throwIfAborted())]),
      );
      return 'up';
    } catch (error) {
      this.logger.warn({ err: error }, `Not ready: the ${name} does not answer`);
      return 'down';
    }
  }
}
