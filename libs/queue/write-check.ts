import { PostgresQueueBackend, type Queue, RedisQueueBackend } from 'bullmq';

/** For how long Redis keeps what is written: milliseconds. */
const KEPT_MS = 60_000;

/**
 * Writes as the start of a job does: a queue that answers may be read-only after a failover, or full.
 * @throws what the queue refuses it with
 */
export async function tryToWrite(queue: Pick<Queue, 'getBackend' | 'toKey'>): Promise<void> {
  // What BullMQ's type says depends on the default backend, which is chosen at the start.
  const backend: unknown = queue.getBackend();
  if (backend instanceof RedisQueueBackend) {
    const client = await backend.client;
    await client.set(queue.toKey('write-check'), Date.now(), { PX: KEPT_MS });
  } else if (backend instanceof PostgresQueueBackend) {
    const { rows } = await backend.connection.pool.query('SHOW transaction_read_only');
    const [{ transaction_read_only: readOnly } = {}] = rows as { transaction_read_only?: string }[];
    if (readOnly !== 'off') throw new Error('the database is read-only');
  }
}
