import { Controller, Get, Inject, Res } from '@nestjs/common';
import type { FastifyReply } from 'fastify';
import { DataSource } from 'typeorm';
import { LOGGER, type Logger } from '#logging';
import { DaemonQueue } from '#queue';
import { ObjectStore } from '#storage';
import { Documented } from '../docs/documented.js';
import { Workers } from '../workers/workers.js';
import * as docs from './health.docs.js';

const ANSWER_WITHIN_MS = 2_000;
/** Anybody may ask, and each question to the object store is a request that somebody pays for. */
const ASK_STORE_EVERY_MS = 5_000;

type State = 'up' | 'down';

/** For load balancers and orchestrators. Says what is up and what is down, and nothing more. */
@Controller('health')
export class HealthController {
  /** What the object store was asked last. */
  private bucket: { state: Promise<State>; askedAt: number } | undefined;

  constructor(
    private readonly database: DataSource,
    private readonly daemons: DaemonQueue,
    private readonly store: ObjectStore,
    private readonly workers: Workers,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  @Documented(docs.live)
  @Get('live')
  live() {
    return { status: 'up' };
  }

  /** Database and queue decide. The bucket is shown only: its outage must not take the API away as well. */
  @Documented(docs.ready)
  @Get('ready')
  async ready(@Res({ passthrough: true }) reply: FastifyReply) {
    const [database, queue, bucket] = await Promise.all([
      this.stateOf('database', () => this.database.query('SELECT 1')),
      this.stateOf('queue', () => this.daemons.check()),
      this.stateOfBucket(),
    ]);
    const status: State = database === 'up' && queue === 'up' ? 'up' : 'down';
    void reply.status(status === 'up' ? 200 : 503);
    // Anybody may ask: no names, only how many.
    return { status, database, queue, bucket, workers: this.workers.summary() ?? null };
  }

  /** As it is, or was at most ASK_STORE_EVERY_MS ago. */
  private stateOfBucket(): Promise<State> {
    const now = performance.now();
    if (this.bucket === undefined || now - this.bucket.askedAt >= ASK_STORE_EVERY_MS)
      this.bucket = { state: this.stateOf('bucket', (signal) => this.store.check(signal)), askedAt: now };
    return this.bucket.state;
  }

  private async stateOf(name: string, ask: (signal: AbortSignal) => Promise<unknown>): Promise<State> {
    const signal = AbortSignal.timeout(ANSWER_WITHIN_MS);
    const late = new Promise<never>((_, reject) => {
      signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true });
    });
    try {
      await Promise.race([ask(signal), late]);
      return 'up';
    } catch (error) {
      this.logger.warn({ err: error }, `Not ready: the ${name} does not answer`);
      return 'down';
    }
  }
}
