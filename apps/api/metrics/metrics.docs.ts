import { z } from 'zod';
import { answer } from '../docs/answers.js';
import type { RouteDescription } from '../docs/documented.js';

export const scrape: RouteDescription = {
  name: 'scrapeMetrics',
  summary: 'Gives metrics of jobs, queue, schedules and requests, for Prometheus',
  details: 'Also accepts the bearer token of the setting METRICS_TOKEN.',
  answers: {
    200: {
      what: "Prometheus's text format.",
      schema: answer('Metrics', z.string()),
      contentType: 'text/plain',
      example: 'snapshotd_queue_up 1\n',
    },
  },
};
