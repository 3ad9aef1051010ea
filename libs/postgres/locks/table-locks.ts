import { Failure } from '#common';
import { sqlState } from '../connection/errors.js';
import { quoteTable } from '../connection/identifiers.js';
import type { Session } from '../connection/session.js';

/** While an exclusive lock is waited for, every new reader queues behind it: so only so long at a time. */
const ONE_TRY = '2s';
const TRIES = 15;

/**
 * Begins a transaction and locks tables in it against everybody else. Waits for 30 seconds in all, in short
 * tries that let others pass in between.
 * @param onWait is told that a try was in vain
 * @throws Failure TABLE_LOCKED
 */
export async function beginWithExclusiveLocks(
  session: Session,
  tables: { schema: string; name: string }[],
  onWait: () => void,
): Promise<void> {
  for (let tries = 1; ; tries++) {
    await session.query('BEGIN ISOLATION LEVEL READ COMMITTED, READ WRITE');
    try {
      await session.query(`SET LOCAL lock_timeout = '${ONE_TRY}'`);
      const names = tables.map((table) => `ONLY ${quoteTable(table)}`).join(', ');
      if (names !== '') await session.query(`LOCK TABLE ${names} IN ACCESS EXCLUSIVE MODE`);
      // What is still to be locked on the way, such as sequences, no reader queues behind.
      await session.query(`SET LOCAL lock_timeout = '30s'`);
      return;
    } catch (error) {
      if (!isLockTimeout(error)) throw error;
      await session.query('ROLLBACK');
      if (tries >= TRIES)
        throw new Failure(
          'TABLE_LOCKED',
          'transient',
          'A table of the repository stayed locked for 30 seconds.',
          {
            hint: 'Look into pg_locks for who holds it, and try again when they are done.',
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
