import type { DatabaseIdentity } from '#contracts';
import type { Session } from './session.js';

/** Tells which database a session is connected to. Some services refuse the system identifier: then it is null. */
export async function databaseIdentity(session: Session): Promise<DatabaseIdentity> {
  const [facts] = await session.query<Omit<DatabaseIdentity, 'systemIdentifier'> & { allowed: boolean }>(
    `SELECT d.oid::int8::float8 AS "databaseOid", d.datname::text AS "databaseName",
            pg_catalog.has_function_privilege('pg_catalog.pg_control_system()', 'EXECUTE') AS allowed
       FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database()`,
  );
  const { databaseOid = 0, databaseName = '', allowed = false } = facts ?? {};
  // A statement of its own: PostgreSQL checks the privilege even where CASE would not call the function.
  const [system] = allowed
    ? await session.query<{ identifier: string }>(
        'SELECT system_identifier::text AS identifier FROM pg_catalog.pg_control_system()',
      )
    : [];
  return { systemIdentifier: system?.identifier ?? null, databaseOid, databaseName };
}
