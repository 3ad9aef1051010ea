import { Failure } from '#common';
import type { Observer } from './observer.js';
import type { Session } from './session.js';

/** Other clients of the pooler can hide it from a single check. */
const CHECKS = 3;

/**
 * Checks that two sessions have separate backends and keep them. A pooler in transaction mode would leave the repository
 * lock on a pooled connection after the job, and block all later jobs. Such a pooler gives the connection that was freed
 * last to the next client: so both sessions share a backend, or one of them has several.
 * https://www.pgbouncer.org/features.html
 * @throws Failure POOLED_TRANSACTIONS
 */
export async function expectOwnBackends(session: Session, observer: Observer): Promise<void> {
  let second: number | undefined;
  for (let check = 0; check < CHECKS; check++) {
    const other = await observer.ask(backendPid);
    const own = await backendPid(session);
    if (own === session.pid && other !== own && other === (second ??= other)) continue;
    // The pooled connections must not keep this session's settings.
    await session.query('RESET ALL').catch(() => undefined);
    throw new Failure(
      'POOLED_TRANSACTIONS',
      'permanent',
      `${session.server} is a pooler in transaction mode, which keeps no locks and no settings for a session.`,
      {
        hint: 'Set REPOSITORY_URL to PostgreSQL itself, or to a database of the pooler with pool_mode=session.',
      },
    );
  }
}

async function backendPid(session: Session): Promise<number> {
  const [backend] = await session.query<{ pid: number }>('SELECT pg_catalog.pg_backend_pid() AS pid');
  return backend?.pid ?? 0;
}
