import { z } from 'zod';
import { answer } from '../docs/answers.js';
import type { RouteDescription } from '../docs/documented.js';

const state = z.enum(['up', 'down']);
const liveness = answer('Liveness', z.strictObject({ status: z.literal('up') }));
const readiness = answer(
  'Readiness',
  z.strictObject({ status: state, database: state, queue: state, bucket: state }),
);

export const live: RouteDescription = {
  name: 'live',
  summary: 'Whether the API runs',
  answers: { 200: { what: 'It does.', schema: liveness, example: { status: 'up' } } },
};

export const ready: RouteDescription = {
  name: 'ready',
  summary: 'Whether the API can do what it is asked for',
  details: 'Database and queue decide. The bucket is shown only, as it was at most five seconds ago.',
  answers: {
    200: {
      what: 'It can.',
      schema: readiness,
      example: { status: 'up', database: 'up', queue: 'up', bucket: 'up' },
    },
    503: {
      what: 'The database or the queue is away.',
      schema: readiness,
      example: { status: 'down', database: 'up', queue: 'down', bucket: 'up' },
    },
  },
};
