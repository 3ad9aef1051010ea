import { z } from 'zod';
import { count } from '#contracts/schemas';
import { answer } from '../docs/answers.js';
import type { RouteDescription } from '../docs/documented.js';

const state = z.enum(['up', 'down']);
export type State = z.infer<typeof state>;
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
        busy: count.describe('The workers that run a job.'),
        missing: count.describe('The workers whose heartbeat has ended although nobody stopped them.'),
        warnings: z
          .record(z.string(), count)
          .describe('The number of workers by kind of warning. GET /repo/v1/workers has the texts.'),
      })
      .nullable()
      .describe('Null while the queue is unavailable.'),
  }),
);
export type Liveness = z.infer<typeof liveness>;
export type Readiness = z.infer<typeof readiness>;

export const live: RouteDescription = {
  name: 'live',
  summary: 'Tells whether the API runs',
  answers: { 200: { what: 'It runs.', schema: liveness, example: { status: 'up' } } },
};

export const ready: RouteDescription = {
  name: 'ready',
  summary: 'Tells whether the API can do its work',
  details:
    'Depends on database and queue. The bucket, whose state is at most five seconds old, and the workers are for information.',
  answers: {
    200: {
      what: 'Database and queue are up.',
      schema: readiness,
      example: {
        status: 'up',
        database: 'up',
        queue: 'up',
        bucket: 'up',
        workers: { count: 2, busy: 1, missing: 0, warnings: { SUPERUSER: 2 } },
      },
    },
    503: {
      what: 'The database or the queue is down.',
      schema: readiness,
      example: { status: 'down', database: 'up', queue: 'down', bucket: 'up', workers: null },
    },
  },
};
