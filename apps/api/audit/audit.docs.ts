import { z } from 'zod';
import { answer, count, text, time } from '../docs/answers.js';
import type { RouteDescription } from '../docs/documented.js';

const event = answer(
  'AuditEvent',
  z.strictObject({
    id: text,
    on: time,
    account: text.describe('An email, or `schedule NAME` for what a schedule did.'),
    key: text.nullable().describe('The name of the API key that was used.'),
    action: text,
    subject: text.nullable(),
    outcome: text.describe('The HTTP status that was answered, or `unknown`.'),
    address: text.describe('Of a schedule, the name of the machine that the API runs on.'),
    count: count.describe(
      'How many calls this stands for. Refused ones of a minute are one event; all else in it is of the last one.',
    ),
  }),
);
const events = answer('AuditEvents', z.strictObject({ events: z.array(event), total: count }));

export const listAudit: RouteDescription = {
  name: 'listAudit',
  summary: 'Who did what, from where, when, and how it ended',
  details: 'The newest first. `unknown` means that the call still runs, or that the API died in it.',
  answers: {
    200: {
      what: 'A page of the events, and how many there are.',
      schema: events,
      example: {
        events: [
          {
            id: '17',
            on: 1795342797368,
            account: 'admin@example.org',
            key: 'nightly',
            action: 'backup.start',
            subject: '4',
            outcome: '201',
            address: '192.0.2.7',
            count: 1,
          },
        ],
        total: 17,
      },
    },
  },
};
