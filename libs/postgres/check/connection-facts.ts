import { connectionTls } from '../schema-dump/pg-dump.js';
import type { Session } from '../connection/session.js';

/** Facts about a session's server, and about the connection to it. */
export interface ConnectionFacts {
  /** Such as "15.18 (Debian 15.18-0+deb12u1)". */
  version: string;
  major: number;
  standby: boolean;
  role: string;
  /** Protocol and cipher; null without TLS. */
  tls: string | null;
  /** Whether this process verifies the server's certificate. */
  verified: boolean;
  /** Whether the server is on this machine. */
  local: boolean;
  /** How far the server's clock is ahead of this process's: milliseconds. */
  clockAheadMs: number;
}

/** @param url the URL that the session was opened with */
export async function connectionFacts(session: Session, url: string): Promise<ConnectionFacts> {
  const askedAt = Date.now();
  const [facts] = await session.query<Omit<ConnectionFacts, 'verified' | 'clockAheadMs'> & { now: number }>(
    `SELECT current_setting('server_version') AS version, current_setting('server_version_num')::int / 10000 AS major,
            pg_is_in_recovery() AS standby, session_user::text AS role,
            (SELECT concat_ws(', ', version, cipher) FROM pg_stat_ssl WHERE pid = pg_backend_pid() AND ssl) AS tls,
            coalesce(inet_client_addr() = inet_server_addr(), true) AS local,
            (extract(epoch FROM clock_timestamp()) * 1000)::float8 AS now`,
  );
  const answeredAt = Date.now();
  if (facts === undefined) throw new Error('PostgreSQL answered with no row');
  const { now, ...rest } = facts;
  return {
    ...rest,
    verified: connectionTls(url, session.client).mode.startsWith('verify'),
    clockAheadMs: Math.round(now - (askedAt + answeredAt) / 2),
  };
}
