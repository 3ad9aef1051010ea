import { type BackendFactory, type PgPool, PostgresConnection, PostgresQueueBackend } from 'bullmq';
import pg from 'pg';
import { OWN_SCHEMAS } from '#config';
import { startSafely } from '#postgres';

/**
 * BullMQ's PostgreSQL backend on connections that start safely. BullMQ's own pools set the search path in the startup
 * parameter `options`, which poolers refuse.
 */
export const createSafeBackend: BackendFactory<PostgresQueueBackend, pg.PoolConfig> = (
  name,
  opts,
  { withBlockingConnection = false, blocking = false } = {},
) => {
  const connection = new SafeConnection(opts.connection);
  // BullMQ finds workers and listeners by these names. Its own createPostgresBackend gives the same ones.
  const listener = withBlockingConnection ? name : blocking ? `${name}:qe` : undefined;
  return new PostgresQueueBackend(connection, name, { ...opts, connection: connection.pool }, true, listener);
};

/** BullMQ does not end a pool that it was given, and looks for its tables in the schema "bullmq". */
class SafeConnection extends PostgresConnection {
  override readonly schema = OWN_SCHEMAS.queue;
  private ended: Promise<void> | undefined;

  constructor(config: pg.PoolConfig) {
    // The pool waits for onConnect before it provides a connection.
    const options = {
      ...config,
      keepAlive: true,
      onConnect: (client: pg.ClientBase) => startSafely(client, [OWN_SCHEMAS.queue]),
    };
    super(new pg.Pool(options) as unknown as PgPool);
  }

  override close(): Promise<void> {
    this.ended ??= super.close().then(() => this.pool.end());
    return this.ended;
  }
}
