import type pg from 'pg';
import { Failure } from '#common';
import { commentOn, quoteIdentifier } from './identifiers.js';

/** The comment by which a schema with snapshotd's own state is known, whatever its name. */
export const OWN_SCHEMA_COMMENT = 'The state of snapshotd itself';

/**
 * Creates a schema for the product's own state, unless it exists. Any role that may create schemas could create it
 * first and later replace its objects. So it must belong to this role, to a role that this role is a member of, or to
 * a superuser.
 * @param query runs a statement and returns its rows
 * @throws Failure DATABASE_PERMISSION_DENIED
 */
export async function makeOwnSchema(
  query: (sql: string, values: string[]) => Promise<pg.QueryResultRow[]>,
  schema: string,
): Promise<void> {
  const name = quoteIdentifier(schema);
  await query(`CREATE SCHEMA IF NOT EXISTS ${name}`, []).catch((error: unknown) => {
    // Another process has just created it.
    if ((error as { code?: unknown }).code !== UNIQUE_VIOLATION) throw error;
  });
  const [stranger] = await query(
    `SELECT owner.rolname AS role, me.rolname AS me
       FROM pg_namespace n JOIN pg_roles owner ON owner.oid = n.nspowner JOIN pg_roles me ON me.rolname = current_user
      WHERE n.nspname = $1 AND NOT owner.rolsuper AND owner.oid <> me.oid
        AND (me.rolsuper OR NOT pg_has_role(me.oid, owner.oid, 'USAGE'))`,
    [schema],
  );
  if (stranger === undefined) return giveComment(query, schema);
  throw new Failure(
    'DATABASE_PERMISSION_DENIED',
    'permanent',
    `The schema ${schema} belongs to the role ${String(stranger['role'])}, which could replace its objects.`,
    {
      hint: `If snapshotd created its objects, run: ALTER SCHEMA ${name} OWNER TO ${quoteIdentifier(String(stranger['me']))}; Otherwise drop the schema.`,
    },
  );
}

/** Marks the schema, so that no backup takes it for a part of its repository. Only its owner can. */
async function giveComment(
  query: (sql: string, values: string[]) => Promise<pg.QueryResultRow[]>,
  schema: string,
): Promise<void> {
  const [unmarked] = await query(
    `SELECT FROM pg_namespace
      WHERE nspname = $1 AND obj_description(oid, 'pg_namespace') IS DISTINCT FROM $2 AND pg_has_role(nspowner, 'USAGE')`,
    [schema, OWN_SCHEMA_COMMENT],
  );
  if (unmarked === undefined) return;
  for (const statement of commentOn(`SCHEMA ${quoteIdentifier(schema)}`, OWN_SCHEMA_COMMENT))
    await query(statement, []);
}

const UNIQUE_VIOLATION = '23505';
