import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { Failure } from '#common';
import { connectionFailure } from './errors.js';
import { displayServer, withoutSessionParameters } from './session.js';

const ANSWER_TIMEOUT_MS = 10_000;
/** The server ends the probe's backend at once. Between two looks it has the time for it. */
const LOOK_EVERY_MS = 20;
const MOST_LOOKS = 100;

const BACKEND = 'SELECT pg_catalog.pg_backend_pid() AS pid';

/**
 * Makes sure that a connection keeps its backend. A pooler that gives out connections by the transaction or the
 * statement would leave locks and settings on one of them for other clients, and pass on no notifications. A pooler
 * shows by the process id of its greeting, which is not the backend's. How it gives out connections shows on a second
 * connection whose backend the server ends: it breaks if the backend was its own, and is given another one if not.
 * Other clients of the pooler cannot change that.
 * @param setting the setting that has the URL
 * @throws Failure POOLED_TRANSACTIONS
 */
export async function expectOwnBackend(
  client: pg.ClientBase,
  url: string,
  setting: 'REPOSITORY_URL' | 'DATABASE_URL' | 'QUEUE_URL',
): Promise<void> {
  const backend = await backendOf(client).catch((error: unknown) => {
    throw connectionFailure(error, displayServer(url));
  });
  if (backend === greetedBy(client) || (await breaksWithItsBackend(url))) return;
  // The pooled connections must not keep this connection's settings.
  await client.query('RESET ALL').catch(() => undefined);
  throw new Failure(
    'POOLED_TRANSACTIONS',
    'permanent',
    `${displayServer(url)} is a pooler in transaction mode, which keeps no locks and no settings for a session.`,
    {
      hint: `Set ${setting} to PostgreSQL itself, or to a database of the pooler with pool_mode=session.`,
    },
  );
}

async function breaksWithItsBackend(url: string): Promise<boolean> {
  const probe = new pg.Client({
    connectionString: withoutSessionParameters(url),
    connectionTimeoutMillis: ANSWER_TIMEOUT_MS,
    query_timeout: ANSWER_TIMEOUT_MS,
  });
  probe.on('error', () => undefined); // The next query tells.
  try {
    await probe.connect();
    // One message, so that all of it is for one backend.
    const results: unknown = await probe.query(`SET idle_session_timeout TO 1; ${BACKEND}`);
    const [own] = (results as pg.QueryResult<{ pid: number }>[]).at(-1)?.rows ?? [];
    for (let look = 0; look < MOST_LOOKS; look++) {
      await sleep(LOOK_EVERY_MS);
      const backend = await backendOf(probe).catch(() => undefined);
      if (backend === undefined) return true;
      if (backend !== own?.pid) return false;
    }
    return false;
  } catch (error) {
    throw connectionFailure(error, displayServer(url));
  } finally {
    await probe.end().catch(() => undefined);
  }
}

async function backendOf(client: pg.ClientBase): Promise<number | undefined> {
  const { rows } = await client.query<{ pid: number }>(BACKEND);
  return rows[0]?.pid;
}

/** pg's types do not show it. */
function greetedBy(client: pg.ClientBase): number {
  return (client as pg.ClientBase & { processID: number }).processID;
}
