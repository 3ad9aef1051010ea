import { z } from 'zod';
import { count, text, time } from '#contracts/schemas';
import { answer } from '../docs/answers.js';
import type { RouteDescription } from '../docs/documented.js';

const event = answer(
  'AuditEvent',
  z.strictObject({
    id: text,
    on: time,
    account: text.describe('An email, or `schedule NAME` for an action of a schedule.'),
    key: text.nullable().describe('The name of the API key, if the call used one.'),
    action: text,
    subject: text.nullable(),
    repository: text.nullable().describe('The repository that the call names.'),
    outcome: text.describe('The HTTP status of the answer, or `unknown`.'),
    address: text.describe('The address of the client. For a schedule, the host name of the API.'),
    count: count.describe(
      'The number of calls. Refused calls of one minute are one event, whose other fields are those of the last call.',
    ),
  }),
);
const events = answer('AuditEvents', z.strictObject({ events: z.array(event), total: count }));
export type AuditEvents = z.infer<typeof events>;

export const listAudit: RouteDescription = {
  name: 'listAudit',
  summary: 'Lists the audit: who did what, from where, when, and the outcome',
  details: 'Newest first. `unknown` means that the call is still running, or that the API died during it.',
  answers: {
    200: {
      what: 'A page of the events, and their total.',
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
            repository: 'crm',
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
