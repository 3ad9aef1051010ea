import { Inject, Injectable } from '@nestjs/common';
import { collectDefaultMetrics, Registry } from 'prom-client';
import { DataSource } from 'typeorm';
import { LOGGER, type Logger } from '#logging';
import { DaemonFiguresReader, DaemonQueue, DaemonReader } from '#queue';
import { gauges } from './gauges.js';
import { scheduleFigures } from './schedule-figures.js';

/** Gauges of prom-client with a name that only counters may have. */
const MISNAMED = [
  'nodejs_active_handles_total',
  'nodejs_active_requests_total',
  'nodejs_active_resources_total',
];

/** All that Prometheus is told. */
@Injectable()
export class Metrics {
  /** What is this process's own: every replica has other values. */
  readonly own = new Registry();
  private readonly daemons: DaemonFiguresReader;
  private scrape: Promise<string> | undefined;

  constructor(
    private readonly queue: DaemonQueue,
    reader: DaemonReader,
    private readonly database: DataSource,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {
    this.daemons = new DaemonFiguresReader(reader);
    collectDefaultMetrics({ register: this.own });
    for (const name of MISNAMED) this.own.removeSingleMetric(name);
  }

  /** In Prometheus's text format. Scrapes that come while one is made get the same. */
  text(): Promise<string> {
    this.scrape ??= this.read().finally(() => (this.scrape = undefined));
    return this.scrape;
  }

  private async read(): Promise<string> {
    const [isWritable = false, daemons, schedules] = await Promise.all([
      this.unlessAway(
        'queue',
        this.queue.check().then(() => true),
      ),
      this.unlessAway('queue', this.daemons.read()),
      this.unlessAway('database', scheduleFigures(this.database)),
    ]);
    return Registry.merge([this.own, gauges(isWritable, daemons, schedules)]).metrics();
  }

  /** A scrape tells what there is: that the rest is away is among the most important things that it can tell. */
  private async unlessAway<Figures>(what: string, figures: Promise<Figures>): Promise<Figures | undefined> {
    try {
      return await figures;
    } catch (error) {
      this.logger.warn({ err: error }, `Metrics lack what the ${what} would say`);
      return undefined;
    }
  }
}
