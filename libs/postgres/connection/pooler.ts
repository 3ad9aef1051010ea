import { randomInt } from 'node:crypto';
import pg from 'pg';
import { Failure } from '#common';
import { connectionFailure } from './errors.js';
import { greetedBy } from './pg-internals.js';
import { displayServer, withoutSessionParameters } from './session.js';

const ANSWER_TIMEOUT_MS = 10_000;
/** Other clients of the pooler can hide it from a few checks, but not from all. */
const CHECKS = 30;
const MOST_TURNS = 3;

const BACKEND = 'SELECT pg_catalog.pg_backend_pid() AS pid';

/**
 * Checks that a connection keeps one backend, which no other connection has. A pooler in transaction or statement mode would leave
 * locks and settings on a pooled connection for other clients, and pass on no notifications. The process id of a pooler's
 * greeting is not the backend's. How the pooler gives out connections shows beside a second client: both share a backend,
 * or one of them has several.
 * https://www.pgbouncer.org/features.html
 * @param setting the setting that has the URL, or how messages name the URL
 * @throws Failure POOLED_TRANSACTIONS
 */
export async function expectOwnBackend(client: pg.ClientBase, url: string, setting: string): Promise<void> {
  const backend = await backendOf(client).catch((error: unknown) => {
    throw connectionFailure(error, displayServer(url));
  });
  if (backend === greetedBy(client) || (await keepsItsBackend(client, url))) return;
  // Each may go to another pooled connection, and none must keep this client's settings.
  for (let check = 0; check < CHECKS; check++) await client.query('RESET ALL').catch(() => undefined);
  throw new Failure(
    'POOLED_TRANSACTIONS',
    'permanent',
    `${displayServer(url)} is a pooler in transaction mode, which keeps no locks and no settings for a session.`,
    {
      hint: `Set ${setting} to PostgreSQL itself, or to a database of the pooler with pool_mode=session.`,
    },
  );
}

async function keepsItsBackend(client: pg.ClientBase, url: string): Promise<boolean> {
  const other = new pg.Client({
    connectionString: withoutSessionParameters(url),
    connectionTimeoutMillis: ANSWER_TIMEOUT_MS,
    query_timeout: ANSWER_TIMEOUT_MS,
  });
  other.on('error', () => undefined); // The next query tells.
  try {
    await other.connect();
    const own = await backendOf(client);
    const others = await backendOf(other);
    if (own === others) return false;
    for (let check = 0; check < CHECKS; check++) {
      // Pooled connections that take turns would come back to the same clients if these always took turns as well.
      for (let turns = randomInt(MOST_TURNS) + 1; turns > 0; turns--)
        if ((await backendOf(other)) !== others) return false;
      if ((await backendOf(client)) !== own) return false;
    }
    return true;
  } catch (error) {
    throw connectionFailure(error, displayServer(url));
  } finally {
    await other.end().catch(() => undefined);
  }
}

async function backendOf(client: pg.ClientBase): Promise<number | undefined> {
  const { rows } = await client.query<{ pid: number }>(BACKEND);
  return rows[0]?.pid;
}
