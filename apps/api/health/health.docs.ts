import { z } from 'zod';
import { answer, count } from '../docs/answers.js';
import type { RouteDescription } from '../docs/documented.js';

const state = z.enum(['up', 'down']);
const liveness = answer('Liveness', z.strictObject({ status: z.literal('up') }));
const readiness = answer(
  'Readiness',
  z.strictObject({
    status: state,
    database: state,
    queue: state,
    bucket: state,
    workers: z
      .strictObject({
        count,
        warnings: z
          .record(z.string(), count)
          .describe('How many workers say it, by kind: GET /repo/v1/workers has their words.'),
      })
      .nullable()
      .describe('Null while the queue is away.'),
  }),
);

export const live: RouteDescription = {
  name: 'live',
  summary: 'Whether the API runs',
  answers: { 200: { what: 'It does.', schema: liveness, example: { status: 'up' } } },
};

export const ready: RouteDescription = {
  name: 'ready',
  summary: 'Whether the API can do what it is asked for',
  details:
    'Database and queue decide. The bucket is shown only, as it was at most five seconds ago, and so are the workers.',
  answers: {
    200: {
      what: 'It can.',
      schema: readiness,
      example: {
        status: 'up',
        database: 'up',
        queue: 'up',
        bucket: 'up',
        workers: { count: 2, warnings: { SUPERUSER: 2 } },
      },
    },
    503: {
      what: 'The database or the queue is away.',
      schema: readiness,
      example: { status: 'down', database: 'up', queue: 'down', bucket: 'up', workers: null },
    },
  },
};
