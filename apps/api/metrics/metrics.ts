import { Inject, Injectable } from '@nestjs/common';
import type { FastifyInstance } from 'fastify';
import { collectDefaultMetrics, Histogram, Registry } from 'prom-client';
import { DataSource } from 'typeorm';
import { LOGGER, type Logger } from '#logging';
import { DaemonFiguresReader, DaemonQueue, DaemonReader } from '#queue';
import { Workers } from '../workers/workers.js';
import { gauges } from './gauges.js';
import { scheduleFigures, verifiedFigures } from './schedule-figures.js';

/** Gauges of prom-client with names that only counters may have. */
const MISNAMED = [
  'nodejs_active_handles_total',
  'nodejs_active_requests_total',
  'nodejs_active_resources_total',
];

/** The metrics for Prometheus. */
@Injectable()
export class Metrics {
  /** The metrics of this process. Every replica has its own. */
  readonly own = new Registry();
  private readonly daemons: DaemonFiguresReader;
  private scrape: Promise<string> | undefined;

  constructor(
    private readonly queue: DaemonQueue,
    reader: DaemonReader,
    private readonly database: DataSource,
    private readonly workers: Workers,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {
    this.daemons = new DaemonFiguresReader(reader);
    collectDefaultMetrics({ register: this.own });
    for (const name of MISNAMED) this.own.removeSingleMetric(name);
  }

  /** The metrics in Prometheus's text format. Parallel scrapes share one result. */
  text(): Promise<string> {
    this.scrape ??= this.read().finally(() => (this.scrape = undefined));
    return this.scrape;
  }

  private async read(): Promise<string> {
    const [isWritable = false, daemons, workers, database] = await Promise.all([
      this.unlessAway(
        'queue',
        this.queue.check().then(() => true),
      ),
      this.unlessAway('queue', this.daemons.read()),
      this.unlessAway('queue', this.workers.list()),
      this.unlessAway(
        'database',
        Promise.all([scheduleFigures(this.database), verifiedFigures(this.database)]).then(
          ([schedules, verified]) => ({ schedules, verified }),
        ),
      ),
    ]);
    return Registry.merge([this.own, gauges(isWritable, daemons, workers, database)]).metrics();
  }

  /** Metrics must work while something is down, and show it. */
  private async unlessAway<Figures>(what: string, figures: Promise<Figures>): Promise<Figures | undefined> {
    try {
      return await figures;
    } catch (error) {
      this.logger.warn({ err: error }, `Metrics of the ${what} are missing`);
      return undefined;
    }
  }
}

/** Measures the duration of requests, by the patterns of their routes: paths would be unlimited labels. */
export function measureRequests(fastify: FastifyInstance, registry: Registry): void {
  const durations = new Histogram({
    name: 'snapshotd_http_request_duration_seconds',
    help: 'How long this API took to answer, by method, route and HTTP status',
    labelNames: ['method', 'route', 'status'],
    registers: [registry],
  });
  fastify.addHook('onResponse', async (request, reply) => {
    const route = request.is404 ? 'none' : (request.routeOptions.url ?? 'none');
    const labels = { method: request.method, route, status: String(reply.statusCode) };
    durations.observe(labels, reply.elapsedTime / 1_000);
  });
}
