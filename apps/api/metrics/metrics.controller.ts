import { Controller, Get, Res } from '@nestjs/common';
import type { FastifyReply } from 'fastify';
import { Registry } from 'prom-client';
import { Access } from '../access/access.decorator.js';
import { Documented } from '../docs/documented.js';
import * as docs from './metrics.docs.js';
import { Metrics } from './metrics.js';

/** For Prometheus. */
@Controller('metrics')
export class MetricsController {
  constructor(private readonly metrics: Metrics) {}

  @Access({ needs: 'read', metricsToken: true })
  @Documented(docs.scrape)
  @Get()
  async scrape(@Res({ passthrough: true }) reply: FastifyReply): Promise<string> {
    const text = await this.metrics.text();
    void reply.header('Content-Type', Registry.PROMETHEUS_CONTENT_TYPE);
    return text;
  }
}
