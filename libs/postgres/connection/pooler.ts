import { Failure } from '#common';
import type { Observer } from './observer.js';
import type { Session } from './session.js';

/** Other clients of the pooler may hide it from one look. */
const LOOKS = 3;

/**
 * Makes sure that two sessions have a backend each, and keep it. A pooler that gives out connections by the transaction
 * would leave the repository lock on one of them when the job is over, and keep all later jobs out. It gives the one
 * that was free last to who asks next: so both sessions are seen on one backend, or one of them on several.
 * https://www.pgbouncer.org/features.html
 * @throws Failure POOLED_TRANSACTIONS
 */
export async function expectOwnBackends(session: Session, observer: Observer): Promise<void> {
  let second: number | undefined;
  for (let look = 0; look < LOOKS; look++) {
    const other = await observer.ask(backendPid);
    const own = await backendPid(session);
    if (own === session.pid && other !== own && other === (second ??= other)) continue;
    // What was set on connections that others will be given.
    await session.query('RESET ALL').catch(() => undefined);
    throw new Failure(
      'POOLED_TRANSACTIONS',
      'permanent',
      `${session.server} is a pooler that gives out connections by the transaction, on which no lock and no setting stays.`,
      {
        hint: 'Let REPOSITORY_URL lead to PostgreSQL itself, or to a database of the pooler with pool_mode=session.',
      },
    );
  }
}

async function backendPid(session: Session): Promise<number> {
  const [backend] = await session.query<{ pid: number }>('SELECT pg_catalog.pg_backend_pid() AS pid');
  return backend?.pid ?? 0;
}
