import { addAbortListener } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { Failure, pollUntil } from '#common';
import type { NotedSwap } from '#contracts';
import { sqlState } from '../connection/errors.js';
import { commentOn, quoteIdentifier } from '../connection/identifiers.js';
import type { Session } from '../connection/session.js';
import { databaseUses, endSessionsWith, namedSessions } from './database-uses.js';
import { keptName, markedComment, newMark, withoutMark } from './kept-name.js';
import { findSwappable, type SwappedDatabase } from './swap-obstacles.js';

/** A swap, decided before it begins. Recorded first, it tells afterwards whether the swap has happened. */
export interface Swap {
  live: SwappedDatabase;
  incoming: SwappedDatabase;
  /** The name that the live database gets. */
  keptAs: string;
  /** The first line of the comment that it gets. */
  mark: string;
}

export interface SwapOptions {
  /** Opens another session with the same database of the same server. */
  connect: () => Promise<Session>;
  /** Stops the swap until its commit begins. */
  signal: AbortSignal;
}

/** How long a swap tries before it gives up: PostgreSQL itself waits five seconds for each rename. */
const TRY_FOR_MS = 60_000;
/** A database that is being copied or altered stays locked for that time. */
const LOCK_TIMEOUT_MS = 5_000;
const END_EVERY_MS = 10;

const OBJECT_IN_USE = '55006';
const LOCK_NOT_AVAILABLE = '55P03';
const DEADLOCK = '40P01';

const ENDING = { everyMs: 20, timeoutMs: 10_000 };

/**
 * Decides names for a swap of two databases. A kept database can be the incoming one: that is the way to undo a swap.
 * @throws Failure DATABASE_MISSING, DATABASE_PERMISSION_DENIED
 */
export async function planSwap(
  session: Session,
  { live, incoming, at }: { live: string; incoming: string; at: Date },
): Promise<Swap> {
  const [old, replacement] = await findSwappable(session, [live, incoming]);
  if (old === undefined || replacement === undefined) throw new Error('findSwappable finds both or throws');
  const databases = await session.query<{ name: string }>('SELECT datname::text AS name FROM pg_database');
  const taken = new Set(databases.map(({ name }) => name));
  return { live: old, incoming: replacement, keptAs: keptName(live, at, taken), mark: newMark(at) };
}

/**
 * Puts the incoming database in the place of the live one, and keeps the live one under another name, in one transaction.
 * Meanwhile a second session ends the sessions of both until PostgreSQL lets the renames through. Clients that connect
 * wait for the commit; then one error tells them that the database they waited for has another name. No connections are
 * forbidden, because a crash would leave that behind.
 *
 * PostgreSQL keeps a database's properties by OID: its settings (ALTER DATABASE SET and ALTER ROLE IN DATABASE SET), rights,
 * connection limit and comment stay with the old database under its new name. So the incoming one must have its own before
 * the swap: a recover sets those of the archive after it has renamed the database to its final name. Of the comments, the
 * old one gets a mark as its first line, and a kept database that comes back loses its mark.
 *
 * Call {@link findSwapObstacles} before. The session is with a third database, and outside a transaction.
 * @throws Failure SWAP_REFUSED if the databases stay in use; PostgreSQL's; the signal's reason. Nothing is changed then
 */
export async function swapDatabases(session: Session, swap: Swap, options: SwapOptions): Promise<void> {
  const { signal } = options;
  const deadline = performance.now() + TRY_FOR_MS;
  for (;;) {
    signal.throwIfAborted();
    try {
      return await tryToSwap(session, swap, options);
    } catch (error) {
      signal.throwIfAborted();
      const state = sqlState(error) ?? '';
      if (![OBJECT_IN_USE, LOCK_NOT_AVAILABLE, DEADLOCK].includes(state)) throw error;
      if (performance.now() > deadline) throw await inUse(session, swap, error);
    }
  }
}

async function tryToSwap(session: Session, swap: Swap, { connect, signal }: SwapOptions): Promise<void> {
  const { live, incoming, keptAs, mark } = swap;
  const [name, incomingName, kept] = [live.name, incoming.name, keptAs].map(quoteIdentifier);
  const comment = withoutMark(incoming.comment);
  try {
    using _listener = addAbortListener(signal, () => session.destroy());
    await session.query(`BEGIN; SET LOCAL lock_timeout TO ${LOCK_TIMEOUT_MS}`);
    await endingSessions([live.oid, incoming.oid], connect, async () => {
      await session.query(`ALTER DATABASE ${name} RENAME TO ${kept}`);
      await session.query(`ALTER DATABASE ${incomingName} RENAME TO ${name}`);
    });
    for (const statement of commentOn(`DATABASE ${kept}`, markedComment(mark, live.comment)))
      await session.query(statement);
    // COMMENT IS '' removes a comment.
    if (comment !== incoming.comment)
      for (const statement of commentOn(`DATABASE ${name}`, comment ?? '')) await session.query(statement);
    await expectThese(session, swap);
  } catch (error) {
    await session.query('ROLLBACK').catch(() => undefined); // A broken session has rolled back.
    throw error;
  }
  signal.throwIfAborted();
  try {
    await session.commit();
  } catch (error) {
    const other = await connect().catch(() => {
      throw error; // A later attempt finds out by `hasSwapped`.
    });
    try {
      await waitForEnd(other, session.pid);
      if (!(await hasSwapped(other, swap))) throw error;
    } finally {
      await other.close();
    }
  }
}

/** Whether a swap has been committed, and not undone since. Call it when no session can still be swapping. */
export async function hasSwapped(session: Session, { live, incoming, keptAs }: NotedSwap): Promise<boolean> {
  const rows = await session.query<{ oid: number; name: string }>(
    'SELECT oid::int8::float8 AS oid, datname::text AS name FROM pg_database WHERE oid = ANY ($1::oid[])',
    [[live.oid, incoming.oid]],
  );
  const names = new Map(rows.map(({ oid, name }) => [oid, name]));
  return names.get(live.oid) === keptAs && names.get(incoming.oid) === live.name;
}

/** Another session may have renamed the databases since the swap was planned. */
async function expectThese(session: Session, swap: Swap): Promise<void> {
  if (await hasSwapped(session, swap)) return;
  throw new Failure(
    'SWAP_REFUSED',
    'transient',
    `The databases ${swap.live.name} and ${swap.incoming.name} changed before their swap.`,
  );
}

/** Does work, and meanwhile ends the sessions with some databases, again and again. */
async function endingSessions(
  oids: number[],
  connect: SwapOptions['connect'],
  work: () => Promise<void>,
): Promise<void> {
  const other = await connect();
  let isDone = false;
  const ending = (async () => {
    while (!isDone) {
      await endSessionsWith(other, oids);
      await sleep(END_EVERY_MS);
    }
  })();
  // The failure of `ending` is told below, and only if the work failed too: sessions may have ended by themselves.
  ending.catch(() => undefined);
  try {
    await work();
  } catch (error) {
    isDone = true;
    await ending;
    throw error;
  } finally {
    isDone = true;
    await ending.catch(() => undefined);
    await other.close();
  }
}

/** Ends a session that may still commit, and waits until it is gone. */
async function waitForEnd(session: Session, pid: number): Promise<void> {
  const ended = await pollUntil(async () => {
    const rows = await session.query(
      `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE pid = $1 AND datname = current_database() AND usename = current_user`,
      [pid],
    );
    return rows.length === 0 ? true : undefined;
  }, ENDING);
  if (ended === undefined)
    throw new Failure('DATABASE_QUERY_FAILED', 'transient', `The session ${pid} of the swap does not end.`);
}

async function inUse(session: Session, { live, incoming }: Swap, cause: unknown): Promise<Failure> {
  const uses: string[] = [];
  for (const { name, oid } of [live, incoming]) {
    const { sessions, preparedTransactions } = await databaseUses(session, oid);
    if (sessions.length > 0) uses.push(`sessions with ${name} (${namedSessions(sessions)})`);
    if (preparedTransactions.length > 0)
      uses.push(`prepared transactions of ${name} (${preparedTransactions.join(', ')})`);
  }
  return new Failure(
    'SWAP_REFUSED',
    'transient',
    `The databases ${live.name} and ${incoming.name} stayed in use for ${TRY_FOR_MS / 1_000} seconds${uses.length > 0 ? `: ${uses.join('; ')}` : ''}. They are not swapped.`,
    { hint: 'End what uses them, and swap them again.', cause },
  );
}
