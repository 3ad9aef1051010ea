import type { Session } from './session.js';

/**
 * One advisory lock for all repositories of a database: backups share it, a restore has it alone. The number
 * spells "snapshot" in ASCII; it only has to differ from what other programs use.
 */
const REPOSITORY_LOCK = '8317692697400340340';

/**
 * Waits for the repository lock and holds it until the session ends. It is a session lock and must be taken
 * before BEGIN: as the first statement of a REPEATABLE READ transaction it would wait with a snapshot that is
 * old by the time the lock comes.
 * https://www.postgresql.org/docs/current/explicit-locking.html#ADVISORY-LOCKS
 * @throws Failure when the connection breaks or the wait is cancelled
 */
export async function takeRepositoryLock(session: Session, mode: 'shared' | 'exclusive'): Promise<void> {
  await session.query(`SELECT pg_advisory_lock${mode === 'shared' ? '_shared' : ''}($1)`, [REPOSITORY_LOCK]);
}
