import { Failure } from '#common';
import { sqlState } from '../connection/errors.js';
import { quoteTable, type Relation } from '../connection/identifiers.js';
import type { Session } from '../connection/session.js';

/** The lock timeout of one attempt. It is short because new readers queue behind a waiting exclusive lock. */
const LOCK_TIMEOUT = '2s';
const ATTEMPTS = 15;

/**
 * Begins a transaction and locks tables exclusively. Waits up to 30 seconds, in short attempts that let other sessions
 * pass in between.
 * @param onWait called after each failed attempt
 * @throws Failure TABLE_LOCKED
 */
export async function beginWithExclusiveLocks(
  session: Session,
  tables: Relation[],
  onWait: () => void,
): Promise<void> {
  for (let tries = 1; ; tries++) {
    await session.query('BEGIN ISOLATION LEVEL READ COMMITTED, READ WRITE');
    try {
      await session.query(`SET LOCAL lock_timeout = '${LOCK_TIMEOUT}'`);
      const names = tables.map((table) => `ONLY ${quoteTable(table)}`).join(', ');
      if (names !== '') await session.query(`LOCK TABLE ${names} IN ACCESS EXCLUSIVE MODE`);
      // No reader queues behind the locks to come, such as those of sequences.
      await session.query(`SET LOCAL lock_timeout = '30s'`);
      return;
    } catch (error) {
      if (!isLockTimeout(error)) throw error;
      await session.query('ROLLBACK');
      if (tries >= ATTEMPTS)
        throw new Failure(
          'TABLE_LOCKED',
          'transient',
          'Another session locked a table of the repository for 30 seconds.',
          {
            hint: 'Find the session in pg_locks, and start again when it has finished.',
            cause: error,
          },
        );
      onWait();
    }
  }
}

/** lock_not_available */
function isLockTimeout(error: unknown): boolean {
  return sqlState(error) === '55P03';
}
