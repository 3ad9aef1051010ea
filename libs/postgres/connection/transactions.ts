import { Failure, pollUntil } from '#common';
import { sqlState } from './errors.js';
import type { Session } from './session.js';

export type TransactionOutcome = 'committed' | 'aborted';

const ENDING = { everyMs: 100, timeoutMs: 10_000 };

/**
 * SQL: true of the sessions in pg_stat_activity that logged in as this session did. Any role may choose any
 * application_name, but only this role can log in as itself.
 */
export const OWN_ROLE = `usesysid = (SELECT own.usesysid FROM pg_catalog.pg_stat_activity AS own WHERE own.pid = pg_catalog.pg_backend_pid())`;

/**
 * Returns the id of the current transaction, and assigns one if needed. The id stays known after the transaction. A
 * server that crashes reuses ids that its log had not written to disk: the id is unique only after a {@link flushLog} on
 * another session.
 */
export async function transactionId(session: Session): Promise<string> {
  const rows = await session.query<{ id: string }>(
    `SELECT pg_current_xact_id()::text AS id, pg_logical_emit_message(true, 'snapshotd', '')`,
  );
  return rows[0]?.id ?? '';
}

/**
 * Makes the server write the log of all sessions to disk, by committing a logical message. It waits for no standby.
 */
export async function flushLog(session: Session): Promise<void> {
  await session.query(
    `BEGIN; SET LOCAL synchronous_commit TO local; SELECT pg_logical_emit_message(true, 'snapshotd', ''); COMMIT`,
  );
}

/**
 * Returns how a transaction of an earlier session ended. Call {@link endSessions} first: this waits ten seconds for the
 * transaction's end.
 * https://www.postgresql.org/docs/current/functions-info.html#FUNCTIONS-PG-SNAPSHOT
 * @throws Failure RESTORE_OUTCOME_UNKNOWN if the server has forgotten it, or if it does not end
 */
export async function transactionOutcome(session: Session, id: string): Promise<TransactionOutcome> {
  const status = await pollUntil(async () => {
    const [row] = await session.query<{ status: string | null }>(
      'SELECT pg_xact_status($1::xid8) AS status',
      [id],
    );
    return row?.status === 'in progress' ? undefined : (row?.status ?? 'too long ago');
  }, ENDING);
  if (status === 'committed' || status === 'aborted') return status;
  throw new Failure(
    'RESTORE_OUTCOME_UNKNOWN',
    'permanent',
    `Unknown outcome of transaction ${id} of an earlier attempt (${status ?? 'in progress'}).`,
    { hint: "Compare the repository's rows with the archive, and restore again if they differ." },
  );
}

/**
 * Ends the sessions of this name and role in a database, by default the session's own, and those whose names continue with a blank, and waits until
 * they are gone. A worker that only seems dead must neither write nor keep its locks. Other roles' sessions of the same
 * name are not ours.
 * @throws Failure REPOSITORY_BUSY if one does not end
 */
export async function endSessions(
  session: Session,
  applicationName: string,
  database?: string,
): Promise<void> {
  const ended = await pollUntil(async () => {
    const rows = await session.query(
      `SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity
        WHERE pg_catalog.starts_with(application_name || ' ', $1 || ' ')
          AND datname = coalesce($2, pg_catalog.current_database()) AND pid <> pg_catalog.pg_backend_pid() AND ${OWN_ROLE}`,
      [applicationName, database],
    );
    return rows.length === 0 ? true : undefined;
  }, ENDING);
  if (ended === undefined)
    throw new Failure(
      'REPOSITORY_BUSY',
      'transient',
      `The session "${applicationName}" of an earlier attempt does not end.`,
      { hint: 'End it with pg_terminate_backend, and start again.' },
    );
}

/**
 * Runs statements in a savepoint, so that the transaction survives if PostgreSQL refuses them. Do not use it between
 * TRUNCATE and COPY FREEZE: both must lie in one subtransaction.
 * @returns the permanent failure that PostgreSQL refused them with
 * @throws Failure that may pass, such as a lost connection or a full disk; anything that is no failure of PostgreSQL
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
