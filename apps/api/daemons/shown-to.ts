import type { FastifyRequest } from 'fastify';
import type { DaemonStatus } from '#contracts';
import { withFullText } from '#queue';
import { callerOf, mayReadRows } from '../auth/access.js';

/** A status as whoever asks may see it: values of rows, which PostgreSQL's messages hold, go to those who may read rows. */
export function shownTo(request: FastifyRequest, status: DaemonStatus): DaemonStatus {
  return mayReadRows(callerOf(request)) ? withFullText(status) : status;
}
