import { setTimeout as sleep } from 'node:timers/promises';
import { Failure } from '#common';
import type { Session } from './session.js';

export type TransactionOutcome = 'committed' | 'aborted';

const LOOK_EVERY_MS = 100;
const GONE_WITHIN_MS = 10_000;

/**
 * True of the sessions in pg_stat_activity that logged in as this session did. Any role may choose any
 * application_name, but no other one can log in as ours.
 */
export const OWN_ROLE = `usesysid = (SELECT own.usesysid FROM pg_catalog.pg_stat_activity AS own WHERE own.pid = pg_catalog.pg_backend_pid())`;

/**
 * The present transaction's id, which stays known after its end: assigned here, if it had none. A server that crashes
 * gives an id away again that its log has not reached the disk with: it belongs to this transaction alone only after
 * a {@link flushLog} on another session.
 */
export async function transactionId(session: Session): Promise<string> {
  const rows = await session.query<{ id: string }>(
    `SELECT pg_current_xact_id()::text AS id, pg_logical_emit_message(true, 'snapshotd', '')`,
  );
  return rows[0]?.id ?? '';
}

/**
 * Has the server write to disk what all sessions have logged so far: the commit of a message to nobody does. It waits
 * for no standby.
 */
export async function flushLog(session: Session): Promise<void> {
  await session.query(
    `BEGIN; SET LOCAL synchronous_commit TO local; SELECT pg_logical_emit_message(true, 'snapshotd', ''); COMMIT`,
  );
}

/**
 * How a transaction of an earlier session ended. That session must be gone, or this waits for it in vain.
 * https://www.postgresql.org/docs/current/functions-info.html#FUNCTIONS-PG-SNAPSHOT
 * @throws Failure RESTORE_OUTCOME_UNKNOWN when the server does not remember, or it does not end
 */
export async function transactionOutcome(session: Session, id: string): Promise<TransactionOutcome> {
  for (const deadline = Date.now() + GONE_WITHIN_MS; ; await sleep(LOOK_EVERY_MS)) {
    const rows = await session.query<{ status: string | null }>('SELECT pg_xact_status($1::xid8) AS status', [
      id,
    ]);
    const status = rows[0]?.status;
    if (status === 'committed' || status === 'aborted') return status;
    if (status !== 'in progress' || Date.now() > deadline)
      throw new Failure(
        'RESTORE_OUTCOME_UNKNOWN',
        'permanent',
        `An earlier attempt wrote in transaction ${id}, and the server does not tell how it ended (${status ?? 'too long ago'}).`,
        { hint: 'Look whether the repository is as the archive has it, and restore again if not.' },
      );
  }
}

/**
 * Ends every session of this name and of this role in the database, and those whose names go on after it and a blank;
 * waits until they are gone. Other roles' sessions of the same name are none of ours. A worker that only seems dead must neither go on writing nor keep its locks.
 * @throws Failure when one does not go
 */
export async function endSessions(session: Session, applicationName: string): Promise<void> {
  const left = `FROM pg_catalog.pg_stat_activity WHERE pg_catalog.starts_with(application_name || ' ', $1 || ' ')
                 AND datname = pg_catalog.current_database() AND pid <> pg_catalog.pg_backend_pid() AND ${OWN_ROLE}`;
  for (const deadline = Date.now() + GONE_WITHIN_MS; ; await sleep(LOOK_EVERY_MS)) {
    const rows = await session.query(`SELECT pg_catalog.pg_terminate_backend(pid) ${left}`, [
      applicationName,
    ]);
    if (rows.length === 0) return;
    if (Date.now() > deadline)
      throw new Failure(
        'REPOSITORY_BUSY',
        'transient',
        `The session "${applicationName}" of an earlier attempt does not end.`,
      );
  }
}
