import { z } from 'zod';
import { answer } from '../docs/answers.js';
import type { RouteDescription } from '../docs/documented.js';

export const scrape: RouteDescription = {
  name: 'scrapeMetrics',
  summary: 'Daemons, queue, schedules and requests in numbers, for Prometheus',
  details: 'Also answers to the bearer token of the setting METRICS_TOKEN.',
  answers: {
    200: {
      what: "Prometheus's text format.",
      schema: answer('Metrics', z.string()),
      contentType: 'text/plain',
      example: 'snapshotd_queue_up 1\n',
    },
  },
};
