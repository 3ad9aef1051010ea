import { Failure } from '#common';
import type { SwapObstacleCode } from '#contracts';
import { quoteIdentifier } from '../connection/identifiers.js';
import { OWN_SCHEMA_COMMENT } from '../connection/own-schema.js';
import type { Session } from '../connection/session.js';
import { databaseUses, namedSessions } from './database-uses.js';

export interface SwapObstacle {
  code: SwapObstacleCode;
  /** A sentence that names the things, and what a swap does with them. */
  message: string;
}

/** One of the two databases of a swap. */
export interface SwappedDatabase {
  name: string;
  oid: number;
  owner: string;
  comment: string | null;
}

/**
 * Finds the databases of a swap, in the order of their names.
 * @throws Failure DATABASE_MISSING; DATABASE_PERMISSION_DENIED if this role may not rename both
 */
export async function findSwappable(session: Session, names: string[]): Promise<SwappedDatabase[]> {
  const found = await session.query<SwappedDatabase & { isOwner: boolean; mayCreate: boolean; me: string }>(
    `SELECT d.datname::text AS name, d.oid::int8::float8 AS oid, owner.rolname::text AS owner,
            shobj_description(d.oid, 'pg_database') AS comment, pg_has_role(d.datdba, 'USAGE') AS "isOwner",
            me.rolsuper OR me.rolcreatedb AS "mayCreate", me.rolname::text AS me
       FROM pg_database d JOIN pg_roles owner ON owner.oid = d.datdba
      CROSS JOIN (SELECT rolname, rolsuper, rolcreatedb FROM pg_roles WHERE rolname = current_user) AS me
      WHERE d.datname::text = ANY ($1::text[])`,
    [names],
  );
  return names.map((name) => {
    const database = found.find((one) => one.name === name);
    if (database === undefined)
      throw new Failure('DATABASE_MISSING', 'permanent', `The server has no database ${name}.`);
    const { isOwner, mayCreate, me, ...facts } = database;
    const fix = !isOwner
      ? `GRANT ${quoteIdentifier(facts.owner)} TO ${quoteIdentifier(me)}`
      : `ALTER ROLE ${quoteIdentifier(me)} CREATEDB`;
    if (!isOwner || !mayCreate)
      throw new Failure(
        'DATABASE_PERMISSION_DENIED',
        'permanent',
        `The role ${me} may not rename the database ${name}: a swap needs ${isOwner ? 'CREATEDB' : `membership in its owner ${facts.owner}`}.`,
        { hint: `Run as a superuser: ${fix};` },
      );
    return facts;
  });
}

/**
 * Finds the obstacles to putting a new database in the place of a live one. The session is with a third database.
 * @param incoming the new database; undefined before there is one
 * @throws Failure DATABASE_MISSING, DATABASE_PERMISSION_DENIED
 */
export async function findSwapObstacles(
  session: Session,
  { live, incoming }: { live: string; incoming?: string | undefined },
): Promise<SwapObstacle[]> {
  const [old, replacement] = await findSwappable(session, incoming === undefined ? [live] : [live, incoming]);
  if (old === undefined) return [];
  const { replicationSlots, subscriptions, preparedTransactions, sessions } = await databaseUses(
    session,
    old.oid,
  );
  const others = sessions.filter(({ mayEnd }) => !mayEnd);
  const obstacles: [SwapObstacleCode, boolean, string][] = [
    [
      'replicationSlots',
      replicationSlots.length > 0,
      `${live} has replication slots (${replicationSlots.join(', ')}). They stay with the old database, and their subscribers find no slot in the new one.`,
    ],
    [
      'subscriptions',
      subscriptions.length > 0,
      `${live} has subscriptions (${subscriptions.join(', ')}). They stay with the old database, which goes on to receive changes.`,
    ],
    [
      'preparedTransactions',
      preparedTransactions.length > 0,
      `${live} has prepared transactions (${preparedTransactions.join(', ')}). PostgreSQL renames it only after COMMIT PREPARED or ROLLBACK PREPARED; an accepted swap waits for that for one minute.`,
    ],
    [
      'foreignSessions',
      others.length > 0,
      `${live} has sessions that this role may not end (${namedSessions(others)}). An accepted swap waits for their end for one minute. GRANT pg_signal_backend lets the role end all but those of superusers.`,
    ],
    [
      'otherOwner',
      replacement !== undefined && replacement.owner !== old.owner,
      `${live} belongs to ${old.owner}, and ${incoming} to ${replacement?.owner}.`,
    ],
  ];
  return obstacles.filter(([, isThere]) => isThere).map(([code, , message]) => ({ code, message }));
}

/** Refuses a swap that has obstacles which the request does not name. @throws Failure SWAP_REFUSED */
export function expectAccepted(
  obstacles: readonly SwapObstacle[],
  accepted: readonly SwapObstacleCode[],
): void {
  const open = obstacles.filter(({ code }) => !accepted.includes(code));
  if (open.length === 0) return;
  throw new Failure(
    'SWAP_REFUSED',
    'permanent',
    `The databases are not swapped: ${open.map(({ message }) => message).join(' ')}`,
    {
      hint: `Remove the obstacles, or accept them by name: "accept": ${JSON.stringify(open.map(({ code }) => code))}.`,
    },
  );
}

/**
 * Refuses a live database in which snapshotd keeps its own accounts or queue: they would stay in the kept database.
 * @param session with the live database
 * @throws Failure SWAP_REFUSED
 */
export async function expectNoOwnState(session: Session): Promise<void> {
  const own = await session.query<{ name: string }>(
    `SELECT nspname::text AS name FROM pg_namespace WHERE obj_description(oid, 'pg_namespace') = $1 ORDER BY 1`,
    [OWN_SCHEMA_COMMENT],
  );
  if (own.length === 0) return;
  throw new Failure(
    'SWAP_REFUSED',
    'permanent',
    `The database at ${session.server} holds snapshotd's own state (schema ${own.map(({ name }) => name).join(', ')}), which a swap would leave behind.`,
    {
      hint: 'Nothing was changed. Keep the accounts and the queue in another database (DATABASE_URL, QUEUE_URL), and drop these schemas here.',
    },
  );
}
