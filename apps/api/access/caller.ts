import type { FastifyRequest } from 'fastify';
import type { KeyScope } from '#contracts';
import type { Account } from '#database';
import { covers } from './policy.js';

/** The account that sends a request. */
export type Caller = Pick<Account, 'id' | 'email' | 'administrator'> & {
  /** The API key of the request; missing if it belongs to a login session. */
  key?: { name: string; scope: KeyScope };
};

declare module 'fastify' {
  interface FastifyRequest {
    /** Set on every route that is not open, unless METRICS_TOKEN let the request in. */
    account?: Caller;
  }
}

/** The caller of a route that is not open. */
export function callerOf(request: FastifyRequest): Caller {
  if (request.account === undefined) throw new Error('An open route has no caller.');
  return request.account;
}

/** Whether the caller may read rows of the repository, in messages as in downloads. */
export function mayReadRows({ administrator, key }: Caller): boolean {
  return administrator && (key === undefined || covers(key.scope, 'everything'));
}
