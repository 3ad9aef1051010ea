import { Failure } from '#common';
import type { KeptDatabase } from '#contracts';
import { quoteIdentifier } from '../connection/identifiers.js';
import type { Session } from '../connection/session.js';
import { databaseUses, namedSessions } from './database-uses.js';
import { isMarked } from './kept-name.js';

/**
 * Whether the server still has a kept database: the same database by OID, with its name, mark and owner.
 * @param session with any database of the server
 */
export async function isStillKept(session: Session, kept: KeptDatabase): Promise<boolean> {
  const [found] = await session.query<{ comment: string | null }>(
    `SELECT shobj_description(d.oid, 'pg_database') AS comment
       FROM pg_database d WHERE d.oid = $1 AND d.datname::text = $2 AND pg_get_userbyid(d.datdba)::text = $3`,
    [kept.oid, kept.name, kept.owner],
  );
  return found !== undefined && isMarked(found.comment, kept.mark);
}

/**
 * Drops a database that a swap has kept. It ends no sessions. The session is with another database.
 * @throws Failure NOT_FOUND if there is no such database, or if its name, mark or owner has changed; DROP_REFUSED if it is in
 * use; PostgreSQL's
 */
export async function dropKeptDatabase(session: Session, kept: KeptDatabase): Promise<void> {
  const { name, oid } = kept;
  if (!(await isStillKept(session, kept)))
    throw new Failure('NOT_FOUND', 'permanent', `No swap of this installation keeps a database ${name}.`, {
      hint: 'Somebody has dropped or renamed it, or changed its owner or comment.',
    });
  const { replicationSlots, subscriptions, preparedTransactions, sessions } = await databaseUses(
    session,
    oid,
  );
  const uses = [
    sessions.length > 0 && `sessions (${namedSessions(sessions)})`,
    replicationSlots.length > 0 && `replication slots (${replicationSlots.join(', ')})`,
    subscriptions.length > 0 && `subscriptions (${subscriptions.join(', ')})`,
    preparedTransactions.length > 0 && `prepared transactions (${preparedTransactions.join(', ')})`,
  ].filter((use) => use !== false);
  if (uses.length > 0)
    throw new Failure(
      'DROP_REFUSED',
      'permanent',
      `The database ${name} is in use and was not dropped: it has ${uses.join(' and ')}.`,
      { hint: 'End what uses it, and drop it again.' },
    );
  // PostgreSQL refuses it if a session begins meanwhile. A database that is swapped back meanwhile loses this name.
  await session.query(`DROP DATABASE ${quoteIdentifier(name)}`);
}
