import { Failure } from '#common';
import type { DatabaseIdentity } from '#contracts';
import type { Session } from './session.js';

/** Returns the identity of a session's database. Some services forbid the system identifier: then it is null. */
export async function databaseIdentity(session: Session): Promise<DatabaseIdentity> {
  const [facts] = await session.query<Omit<DatabaseIdentity, 'systemIdentifier'> & { allowed: boolean }>(
    `SELECT d.oid::int8::float8 AS "databaseOid", d.datname::text AS "databaseName",
            pg_catalog.has_function_privilege('pg_catalog.pg_control_system()', 'EXECUTE') AS allowed
       FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database()`,
  );
  const { databaseOid = 0, databaseName = '', allowed = false } = facts ?? {};
  // A separate statement: PostgreSQL checks the privilege even if a CASE does not call the function.
  const [system] = allowed
    ? await session.query<{ identifier: string }>(
        'SELECT system_identifier::text AS identifier FROM pg_catalog.pg_control_system()',
      )
    : [];
  return { systemIdentifier: system?.identifier ?? null, databaseOid, databaseName };
}

/** Facts that a restore needs about the server and the database that it writes to. */
export interface ServerFacts {
  /** Such as "15.18 (Debian 15.18-0+deb12u1)". */
  version: string;
  encoding: string;
  /** The names of the database's extensions. */
  extensions: string[];
  /** The given names as PostgreSQL prints them, quoted if needed. */
  quoted: Map<string, string>;
}

/** Reads the server's facts. @param names to be quoted */
export async function serverFacts(session: Session, names: string[]): Promise<ServerFacts> {
  const [facts] = await session.query<Omit<ServerFacts, 'quoted'> & { quoted: string[] }>(
    `SELECT current_setting('server_version') AS version, current_setting('server_encoding') AS encoding,
            ARRAY(SELECT extname::text FROM pg_extension) AS extensions,
            ARRAY(SELECT quote_ident(name) FROM unnest($1::text[]) WITH ORDINALITY AS one (name, number) ORDER BY number) AS quoted`,
    [names],
  );
  const { version = '', encoding = '', extensions = [], quoted = [] } = facts ?? {};
  return {
    version,
    encoding,
    extensions,
    quoted: new Map(names.map((name, index) => [name, quoted[index] ?? name])),
  };
}

/** Refuses a server that cannot be written to. @throws Failure SERVER_IS_STANDBY */
export async function expectPrimary(session: Session): Promise<void> {
  const [server] = await session.query<{ standby: boolean }>('SELECT pg_is_in_recovery() AS standby');
  if (server?.standby !== true) return;
  throw new Failure(
    'SERVER_IS_STANDBY',
    'permanent',
    `The server at ${session.server} is a standby: it takes backups only.`,
    {
      hint: 'Nothing was changed. Restore and verify with workers whose REPOSITORY_URL leads to the primary.',
    },
  );
}
