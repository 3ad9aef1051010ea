import type { Session } from '../connection/session.js';

/** A session with a database. */
export interface UsingSession {
  pid: number;
  role: string | null;
  application: string;
  /** Whether this role may end it. */
  mayEnd: boolean;
}

/** Everything that uses a database from outside of it. */
export interface DatabaseUses {
  /** Names of logical replication slots. */
  replicationSlots: string[];
  subscriptions: string[];
  /** Their global ids. */
  preparedTransactions: string[];
  sessions: UsingSession[];
}

/**
 * SQL: whether this role may end the session of pg_stat_activity `a`, whose role is `r`. PostgreSQL's rule, which the
 * function pg_terminate_backend enforces with an error:
 * https://www.postgresql.org/docs/current/functions-admin.html#FUNCTIONS-ADMIN-SIGNAL
 */
const MAY_END = `(own.rolsuper OR (a.usesysid IS NOT NULL AND NOT coalesce(r.rolsuper, false)
                    AND (pg_has_role(a.usesysid, 'USAGE') OR pg_has_role('pg_signal_backend', 'USAGE'))))`;

/** SQL: the sessions with one of the databases $1. PostgreSQL itself ends workers of autovacuum, which have no role. */
const SESSIONS = `pg_stat_activity a
    CROSS JOIN (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) AS own
     LEFT JOIN pg_roles r ON r.oid = a.usesysid
 WHERE a.datid = ANY ($1::oid[]) AND a.pid <> pg_backend_pid()
   AND (a.usesysid IS NOT NULL OR a.backend_type <> 'autovacuum worker')`;

/** Lists what uses a database. Every role may ask. */
export async function databaseUses(session: Session, oid: number): Promise<DatabaseUses> {
  const [uses] = await session.query<Omit<DatabaseUses, 'sessions'>>(
    `SELECT ARRAY(SELECT slot_name::text FROM pg_replication_slots s WHERE s.database = d.datname ORDER BY 1) AS "replicationSlots",
            ARRAY(SELECT subname::text FROM pg_subscription WHERE subdbid = d.oid ORDER BY 1) AS subscriptions,
            ARRAY(SELECT gid FROM pg_prepared_xacts p WHERE p.database = d.datname ORDER BY 1) AS "preparedTransactions"
       FROM pg_database d WHERE d.oid = $1`,
    [oid],
  );
  const sessions = await session.query<UsingSession>(
    `SELECT a.pid, a.usename::text AS role, coalesce(a.application_name, '') AS application, ${MAY_END} AS "mayEnd"
       FROM ${SESSIONS} ORDER BY a.pid`,
    [[oid]],
  );
  return { replicationSlots: [], subscriptions: [], preparedTransactions: [], ...uses, sessions };
}

/** Ends the sessions with these databases that this role may end, without waiting for their end. */
export async function endSessionsWith(session: Session, oids: number[]): Promise<void> {
  await session.query(`SELECT pg_terminate_backend(a.pid) FROM ${SESSIONS} AND ${MAY_END}`, [oids]);
}

/** Names sessions for a message. */
export function namedSessions(sessions: UsingSession[]): string {
  return sessions
    .map(({ pid, role, application }) =>
      [`pid ${pid}`, role === null ? 'no role' : `role ${role}`, application].filter(Boolean).join(', '),
    )
    .join('; ');
}
