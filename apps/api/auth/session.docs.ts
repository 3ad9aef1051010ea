import { z } from 'zod';
import { text } from '#contracts/schemas';
import { answer } from '../docs/answers.js';
import type { RouteDescription } from '../docs/documented.js';

const session = answer('Session', z.strictObject({ displayName: text, sessionToken: text }));
export type SessionView = z.infer<typeof session>;

const sessionToken = 'xeNvpS9Mys-B6EdT2bGIooDn_89V25KH1ope7UgroEs';

export const openSession: RouteDescription = {
  name: 'openSession',
  summary: 'Logs in',
  details: 'Ignores the token of another session. The session ends 24 hours after its last use.',
  example: { email: 'admin@example.org', password: 'correct horse battery' },
  answers: {
    201: {
      what: 'The session.',
      schema: session,
      example: { displayName: 'admin@example.org', sessionToken },
    },
  },
  errors: {
    401: 'The email or the password is wrong.',
    429: 'Too many logins with this email from this address.',
  },
};

export const prolongSession: RouteDescription = {
  name: 'prolongSession',
  summary: 'Prolongs a session by 24 hours, as every use does',
  example: { sessionToken },
  answers: { 204: { what: 'The session is prolonged.' } },
  errors: { 401: 'The session has ended. Log in again with POST /auth/v1/session.' },
};

export const closeSession: RouteDescription = {
  name: 'closeSession',
  summary: 'Logs out',
  example: { sessionToken },
  answers: { 204: { what: 'The session has ended.' } },
};
