import { Failure } from '#common';
import { sqlState } from './errors.js';
import type { Session } from './session.js';

/**
 * Runs statements so that the transaction survives their failure, which undoes them alone. Not for what comes between
 * TRUNCATE and COPY FREEZE, which must lie in one subtransaction.
 * @returns what PostgreSQL refused them with
 * @throws Failure that may pass, such as of a lost connection or a full disk; what is no failure of PostgreSQL
 */
export async function attempt(session: Session, work: () => Promise<unknown>): Promise<Failure | undefined> {
  await session.query('SAVEPOINT snapshotd');
  try {
    await work();
    await session.query('RELEASE SAVEPOINT snapshotd');
    return undefined;
  } catch (error) {
    if (!(error instanceof Failure) || error.persistence !== 'permanent' || sqlState(error) === undefined)
      throw error;
    await session.query('ROLLBACK TO SAVEPOINT snapshotd; RELEASE SAVEPOINT snapshotd');
    return error;
  }
}
