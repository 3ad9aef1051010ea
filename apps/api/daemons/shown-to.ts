import type { FastifyRequest } from 'fastify';
import type { DaemonStatus } from '#contracts';
import { withFullText } from '#queue';
import { callerOf, mayReadRows } from '../auth/access.js';

/** A status for this caller: only callers who may read rows see PostgreSQL's full messages. */
export function shownTo(request: FastifyRequest, status: DaemonStatus): DaemonStatus {
  return mayReadRows(callerOf(request)) ? withFullText(status) : status;
}
