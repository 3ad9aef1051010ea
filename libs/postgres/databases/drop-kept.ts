import { Failure } from '#common';
import type { KeptDatabase } from '#contracts';
import { quoteIdentifier } from '../connection/identifiers.js';
import type { Session } from '../connection/session.js';
import { databaseUses, namedSessions } from './database-uses.js';
import { isMarked } from './kept-name.js';

/**
 * Drops a database that a swap has kept. It ends no sessions. The session is with another database.
 * @returns whether it was still there: an earlier attempt may have dropped it
 * @throws Failure NOT_FOUND if its name, mark or owner has changed; DROP_REFUSED if it is in use; PostgreSQL's
 */
export async function dropKeptDatabase(session: Session, kept: KeptDatabase): Promise<boolean> {
  const { name, oid, owner, mark } = kept;
  const [found] = await session.query<{ name: string; owner: string; comment: string | null }>(
    `SELECT datname::text AS name, pg_get_userbyid(datdba)::text AS owner, shobj_description(oid, 'pg_database') AS comment
       FROM pg_database WHERE oid = $1`,
    [oid],
  );
  if (found === undefined) return false;
  if (found.name !== name || found.owner !== owner || !isMarked(found.comment, mark))
    throw new Failure('NOT_FOUND', 'permanent', `No swap of this installation keeps a database ${name}.`, {
      hint: 'Since the swap, somebody has renamed it, or changed its owner or its comment.',
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
  return true;
}
