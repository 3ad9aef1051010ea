import { setTimeout as sleep } from 'node:timers/promises';
import { type QueueOptions, runMigrations, setDefaultBackendFactory } from 'bullmq';
import { Redis } from 'ioredis';
import pg from 'pg';
import { OWN_SCHEMAS, type Secret } from '#config';
import { errorSentence, Failure } from '#common';
import type { Logger } from '#logging';
import { displayServer, expectOwnBackend, makeOwnSchema, startSafely, tlsFailure } from '#postgres';
import { createSafeBackend } from './postgres-backend.js';
import { isReadOnly } from './queue-unavailable.js';

/** A producer fails fast, so that its client gets an answer. A worker waits for its queue without a limit. */
export type QueueRole = 'producer' | 'worker';

/** How long a request may wait for the queue: its client learns within two seconds that the queue is unavailable. */
const PRODUCER_TIMEOUT_MS = 1_500;
const RETRY_EVERY_MS = 2_000;
/** How long the migrations wait for a lock before the log names its holder; then they wait again. */
const MIGRATIONS_WAIT = '2s';
const LOCK_NOT_AVAILABLE = '55P03';
/** Short, so that work resumes soon after the queue is available again. */
const LONGEST_RECONNECT_PAUSE_MS = 2_000;

/**
 * Another worker takes the job of a killed one over after about the sum of the first two: milliseconds. BullMQ's own
 * limit of takeovers would fail a job before it could clean up, so it is switched off.
 */
export const TAKEOVER = { lockDuration: 15_000, stalledInterval: 5_000, maxStalledCount: 2 ** 31 - 1 };

type Connection = Pick<QueueOptions, 'connection' | 'prefix'>;

/**
 * Chooses the queue's backend by the URL's scheme, waits until it answers, runs its migrations, and gives BullMQ's
 * options for it. Call this before the first queue or worker is constructed.
 * @throws Failure QUEUE_UNAVAILABLE if waiting cannot help
 */
export async function queueConnection(url: Secret, role: QueueRole, logger: Logger): Promise<Connection> {
  const postgres = /^postgres/.test(url.reveal());
  await untilReachable(postgres ? () => askPostgres(url) : () => askRedis(url), logger);
  if (postgres) {
    setDefaultBackendFactory(createSafeBackend);
    const connection = {
      connectionString: url.reveal(),
      connectionTimeoutMillis: PRODUCER_TIMEOUT_MS,
      // One connection may listen for jobs.
      ...(role === 'producer' ? { max: 11, query_timeout: PRODUCER_TIMEOUT_MS } : { max: 5 }),
    };
    // BullMQ types its options for Redis; with the factory above it passes them to node-postgres unchanged.
    return { connection: connection as Connection['connection'] };
  }
  return {
    prefix: 'snapshotd',
    connection: {
      url: url.reveal(),
      retryStrategy: (tries: number) => Math.min(tries * 100, LONGEST_RECONNECT_PAUSE_MS),
      // After a failover, the connection may lead to a server that is a replica now. It did not execute the refused
      // command: a worker sends it again, and a producer tells its client.
      reconnectOnError: (error: Error) => isReadOnly(error) && (role === 'worker' ? 2 : true),
      ...(role === 'producer'
        ? {
            enableOfflineQueue: false,
            maxRetriesPerRequest: 1,
            // A command whose answer was lost may have been executed, so the client does not resend it by itself.
            autoResendUnfulfilledCommands: false,
            commandTimeout: PRODUCER_TIMEOUT_MS,
          }
        : { maxRetriesPerRequest: null }),
    },
  };
}

async function untilReachable(ask: () => Promise<void>, logger: Logger): Promise<void> {
  for (;;)
    try {
      return await ask();
    } catch (error) {
      if (error instanceof Failure && error.persistence === 'permanent') throw error;
      logger.warn({ reason: errorSentence(error) }, 'Waiting for the queue at QUEUE_URL');
      await sleep(RETRY_EVERY_MS);
    }
}

async function askRedis(url: Secret): Promise<void> {
  const client = new Redis(url.reveal(), {
    lazyConnect: true,
    retryStrategy: () => null,
    connectTimeout: 5_000,
  });
  let reason: Error | undefined;
  client.on('error', (error) => (reason = error));
  try {
    await client.connect();
    const cluster = await client.info('cluster');
    if (/^cluster_enabled:1/m.test(cluster))
      throw new Failure(
        'QUEUE_UNAVAILABLE',
        'permanent',
        'QUEUE_URL leads to a Redis in cluster mode, which is not supported.',
        {
          hint: 'Use a Redis without cluster mode.',
        },
      );
  } catch (error) {
    throw reason ?? error;
  } finally {
    client.disconnect();
  }
}

/** Runs the migrations without a time limit. The caller retries them if the connection breaks. */
async function askPostgres(url: Secret): Promise<void> {
  const client = new pg.Client({ connectionString: url.reveal(), connectionTimeoutMillis: 5_000 });
  client.on('error', () => undefined); // The rejected promise tells.
  try {
    await client.connect().catch((error: unknown) => {
      throw tlsFailure(error, displayServer(url.reveal())) ?? error;
    });
    await startSafely(client);
    await expectOwnBackend(client, url.reveal(), 'QUEUE_URL');
    await makeOwnSchema(
      async (sql, values) => (await client.query<pg.QueryResultRow>(sql, values)).rows,
      OWN_SCHEMAS.queue,
    );
    // The lock of the migrations is an advisory lock, which every role that may connect can hold.
    await client.query(`SET lock_timeout TO '${MIGRATIONS_WAIT}'`);
    await runMigrations(client, OWN_SCHEMAS.queue).catch(async (error: unknown) => {
      throw (error as { code?: unknown }).code === LOCK_NOT_AVAILABLE ? await lockHeld(client) : error;
    });
  } finally {
    await client.end();
  }
}

/** Names the holders of advisory locks with two keys, such as the lock of the migrations. */
async function lockHeld(client: pg.Client): Promise<Failure> {
  const { rows } = await client.query<{ holder: string }>(
    `SELECT DISTINCT format('%s (role %s, pid %s)', coalesce(nullif(a.application_name, ''), 'a session without a name'), a.usename, a.pid) AS holder
       FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
      WHERE l.granted AND l.pid <> pg_backend_pid()
        AND (l.locktype = 'advisory' AND l.objsubid = 2
             OR l.relation IN (SELECT c.oid FROM pg_class c WHERE c.relnamespace = to_regnamespace($1)))
        AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())`,
    [OWN_SCHEMAS.queue],
  );
  const holders = rows.map(({ holder }) => holder).join(', ') || 'another session';
  return new Failure(
    'QUEUE_UNAVAILABLE',
    'transient',
    `The migrations of the queue wait for a lock that is held by ${holders}.`,
    {
      hint: 'Unless that is an API or a worker that starts, end the session: SELECT pg_terminate_backend(pid);',
    },
  );
}
