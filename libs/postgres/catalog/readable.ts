import { Failure } from '#common';
import { displayTable, quoteIdentifier, quoteTable, type Relation } from '../connection/identifiers.js';
import type { Members } from './members.js';
import { checkNamesInUtf8 } from './names-in-utf8.js';
import type { Session } from '../connection/session.js';
import { inRepository } from './tables.js';

/** The rights that a role lacks to read all rows of the members. */
export interface UnreadableMembers {
  role: string;
  /** Schemas that it may not use. */
  closed: string[];
  /** Tables and sequences that it may not read. */
  unreadable: Relation[];
  /** Tables of which row security may hide rows from it. */
  hidden: Relation[];
}

/** Finds the members of which the role cannot read all. @returns undefined if it can read everything */
export async function findUnreadable(
  session: Session,
  members: Members,
): Promise<UnreadableMembers | undefined> {
  const rows = await session.query<
    Relation & { role: string; usable: boolean; readable: boolean; hidden: boolean }
  >(
    `SELECT * FROM (
       SELECT n.nspname AS schema, c.relname AS name, current_user AS role, has_schema_privilege(n.oid, 'USAGE') AS usable,
              has_table_privilege(c.oid, 'SELECT') IS NOT FALSE AS readable, row_security_active(c.oid) AS hidden
         FROM ${inRepository('r')}
       UNION ALL
       SELECT n.nspname, c.relname, current_user, has_schema_privilege(n.oid, 'USAGE'),
              has_sequence_privilege(c.oid, 'SELECT') IS NOT FALSE, false
         FROM ${inRepository('S')}) AS members
      WHERE NOT usable OR NOT readable OR hidden
      ORDER BY schema COLLATE "C", name COLLATE "C"`,
    [members.relations],
  );
  const [first] = rows;
  if (first === undefined) return undefined;
  return {
    role: first.role,
    closed: [...new Set(rows.filter(({ usable }) => !usable).map(({ schema }) => schema))],
    unreadable: rows.filter(({ readable }) => !readable),
    hidden: rows.filter((row) => row.hidden),
  };
}

/**
 * Checks that the role can read all rows of the members and the states of their sequences.
 * @throws Failure SCHEMA_MISSING, NAMES_NOT_UTF8, DATABASE_PERMISSION_DENIED or ROW_SECURITY, which names all relations
 * concerned, with the statements to run
 */
export async function expectReadable(session: Session, members: Members): Promise<void> {
  expectSchemas(session, members);
  await checkNamesInUtf8(session, members);
  const lacking = await findUnreadable(session, members);
  if (lacking === undefined) return;
  const { role, closed, unreadable, hidden } = lacking;
  const me = quoteIdentifier(role);
  const faults: string[] = [];
  const grants: string[] = [];
  if (closed.length > 0) {
    const { fault, grant } = mayNotUse(closed, role);
    faults.push(fault);
    grants.push(grant);
  }
  if (unreadable.length > 0) {
    faults.push(
      `The role ${role} may not read ${unreadable.map(displayTable).join(', ')}: permission denied.`,
    );
    grants.push(`GRANT SELECT ON ${unreadable.map(quoteTable).join(', ')} TO ${me};`);
  }
  // A policy hides rows without an error, so that an archive without them would look complete.
  if (hidden.length > 0)
    faults.push(
      `Row security may hide rows of ${hidden.map(displayTable).join(', ')} from the role ${role}.`,
    );
  throw new Failure(
    grants.length > 0 ? 'DATABASE_PERMISSION_DENIED' : 'ROW_SECURITY',
    'permanent',
    faults.join(' '),
    {
      hint: [
        ...(grants.length > 0 ? [`Run: ${grants.join(' ')}`] : []),
        ...(hidden.length > 0 ? [`Have a superuser run: ALTER ROLE ${me} BYPASSRLS;`] : []),
      ].join(' '),
    },
  );
}

/**
 * Checks that the role may use the schemas of the members.
 * @throws Failure NAMES_NOT_UTF8, DATABASE_PERMISSION_DENIED
 */
export async function expectUsable(session: Session, members: Members): Promise<void> {
  await checkNamesInUtf8(session, members);
  const rows = await session.query<{ schema: string; role: string }>(
    `SELECT n.nspname AS schema, current_user AS role FROM pg_namespace n
      WHERE NOT has_schema_privilege(n.oid, 'USAGE')
        AND EXISTS (SELECT FROM pg_class c WHERE c.relnamespace = n.oid AND c.relkind IN ('r', 'S') AND c.oid = ANY ($1::oid[]))
      ORDER BY n.nspname COLLATE "C"`,
    [members.relations],
  );
  const [first] = rows;
  if (first === undefined) return;
  const { fault, grant } = mayNotUse(
    rows.map(({ schema }) => schema),
    first.role,
  );
  throw new Failure('DATABASE_PERMISSION_DENIED', 'permanent', fault, { hint: `Run: ${grant}` });
}

function mayNotUse(schemas: string[], role: string): { fault: string; grant: string } {
  return {
    fault: `The role ${role} may not use the schema ${schemas.join(', ')}.`,
    grant: `GRANT USAGE ON SCHEMA ${schemas.map(quoteIdentifier).join(', ')} TO ${quoteIdentifier(role)};`,
  };
}

/** Refuses a scope that names schemas which cannot be part of a repository. @throws Failure SCHEMA_MISSING */
export function expectSchemas(session: Session, { missing, own }: Members): void {
  if (missing.length === 0) return;
  const ours = missing.filter((name) => own.includes(name));
  throw new Failure(
    'SCHEMA_MISSING',
    'permanent',
    ours.length > 0
      ? `The schema ${ours.join(', ')} of the database ${session.server} holds snapshotd's own state, which is no part of a repository.`
      : `The database ${session.server} has no schema ${missing.join(', ')}.`,
    { hint: 'Check REPOSITORY_SCHEMAS and the database in REPOSITORY_URL.' },
  );
}
