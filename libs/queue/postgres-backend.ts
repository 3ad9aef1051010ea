import { type BackendFactory, type PgPool, PostgresConnection, PostgresQueueBackend } from 'bullmq';
import pg from 'pg';
import { OWN_SCHEMAS } from '#config';
import { startSafely } from '#postgres';

/**
 * BullMQ's PostgreSQL backend on connections that are started safely. BullMQ's own pools send it
 * in the startup parameter `options`, which poolers refuse.
 */
export const createSafeBackend: BackendFactory<PostgresQueueBackend, pg.PoolConfig> = (
  name,
  opts,
  { withBlockingConnection = false, blocking = false } = {},
) => {
  const connection = new SafeConnection(opts.connection);
  // The names by which BullMQ finds workers and listeners, as its createPostgresBackend gives them.
  const listener = withBlockingConnection ? name : blocking ? `${name}:qe` : undefined;
  return new PostgresQueueBackend(connection, name, { ...opts, connection: connection.pool }, true, listener);
};

/** Given a pool, BullMQ believes that it is somebody else's, and that its tables are in the schema "bullmq". */
class SafeConnection extends PostgresConnection {
  override readonly schema = OWN_SCHEMAS.queue;
  private ended: Promise<void> | undefined;

  constructor(config: pg.PoolConfig) {
    // The pool waits for onConnect before it hands a connection out.
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
