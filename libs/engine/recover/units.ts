import { type Session, sqlState } from '#postgres';

/**
 * Runs work in a transaction. If one is open, in a savepoint of it: a recover into an existing database is one
 * transaction.
 */
export async function asUnit<Result>(session: Session, work: () => Promise<Result>): Promise<Result> {
  const inner = isOpen(session);
  await session.query(inner ? SAVEPOINT : 'BEGIN');
  try {
    const result = await work();
    if (inner) await session.query(RELEASE);
    else await session.commit();
    return result;
  } catch (error) {
    // The connection may be in the middle of a COPY if the error is not the server's.
    if (sqlState(error) !== undefined)
      await session.query(inner ? ROLL_BACK : 'ROLLBACK').catch(() => undefined); // The first error is the cause.
    throw error;
  }
}

/** Runs statements whose refusal must not end the open transaction. */
export function alone<Result>(session: Session, work: () => Promise<Result>): Promise<Result> {
  return isOpen(session) ? asUnit(session, work) : work();
}

/** Runs work and undoes what it changes. */
export async function undone<Result>(session: Session, work: () => Promise<Result>): Promise<Result> {
  const inner = isOpen(session);
  await session.query(inner ? SAVEPOINT : 'BEGIN');
  try {
    return await work();
  } finally {
    await session.query(inner ? ROLL_BACK : 'ROLLBACK');
  }
}

const SAVEPOINT = 'SAVEPOINT snapshotd_unit';
const RELEASE = 'RELEASE SAVEPOINT snapshotd_unit';
const ROLL_BACK = `ROLLBACK TO SAVEPOINT snapshotd_unit; ${RELEASE}`;

function isOpen(session: Session): boolean {
  return session.client.getTransactionStatus() === 'T';
}
