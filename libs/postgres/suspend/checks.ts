import { type CodeUse, TABLES_AND_PARENTS } from '../catalog/code-uses.js';
import { COLUMN_TYPES } from '../catalog/column-types.js';
import {
  commentOn,
  displayTable,
  quoteIdentifier,
  quoteTable,
  type Relation,
} from '../connection/identifiers.js';
import type { Session } from '../connection/session.js';
import type { Suspension } from './suspension.js';

interface Check extends Relation {
  oid: number;
  /** The OID of the table whose trusted path its functions run under. */
  relation: number;
  check: string;
  owned: boolean;
  validated: boolean;
  definition: string;
  comment: string | null;
}

interface TableCheck extends Check {
  /** The same check in tables that inherit it. */
  inherited: (Relation & { comment: string | null; validated: boolean })[];
}

/** Selects the checks to suspend during a load. */
export interface SuspendedChecks {
  /** Checks that call functions of users, which may read rows that are not loaded yet. */
  uses: CodeUse[];
  /** Whether to suspend all, because old rows may violate any. */
  all: boolean;
}

/**
 * Lists checks of the tables (from PostgreSQL 18 on also NOT NULL) that were never validated, because they would refuse
 * their own old rows, and checks that call functions of users. An inherited check follows its parent's. If a table also
 * has it locally, that one must be reinstated first, and then merges with its parent's.
 */
export async function listChecks(
  session: Session,
  oids: number[],
  { uses, all }: SuspendedChecks,
): Promise<Suspension[]> {
  const rows = await session.query<TableCheck>(
    `WITH RECURSIVE ${TABLES_AND_PARENTS}
     SELECT k.oid::int8::float8 AS oid, c.oid::int8::float8 AS relation, n.nspname AS schema, c.relname AS name,
            k.conname AS check, pg_has_role(c.relowner, 'USAGE') AS owned, k.convalidated AS validated,
            pg_get_constraintdef(k.oid) AS definition, obj_description(k.oid, 'pg_constraint') AS comment,
            coalesce((WITH RECURSIVE heirs (oid) AS (
                        SELECT inhrelid FROM pg_inherits WHERE inhparent = c.oid
                        UNION SELECT i.inhrelid FROM heirs JOIN pg_inherits i ON i.inhparent = heirs.oid)
                      SELECT json_agg(json_build_object('schema', hn.nspname, 'name', h.relname,
                               'comment', obj_description(hk.oid, 'pg_constraint'), 'validated', hk.convalidated) ORDER BY h.oid)
                        FROM heirs JOIN pg_class h ON h.oid = heirs.oid JOIN pg_namespace hn ON hn.oid = h.relnamespace
                        JOIN pg_constraint hk ON hk.conrelid = h.oid AND hk.conname = k.conname AND hk.contype = k.contype
                       WHERE NOT hk.conislocal), '[]') AS inherited
       FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
      WHERE k.conislocal AND k.conrelid IN (SELECT oid FROM parents)
        AND (k.contype IN ('c', 'n') AND NOT k.convalidated OR k.contype = 'c' AND ($3 OR k.oid = ANY ($2::oid[])))
        -- Of parents that are not loaded: only checks that the role may change.
        AND (k.conrelid = ANY ($1::oid[]) OR c.relkind = 'p' OR NOT k.connoinherit AND pg_has_role(c.relowner, 'USAGE'))
      ORDER BY k.coninhcount DESC, k.oid`,
    [oids, uses.filter(({ kind }) => kind === 'check').map(({ id }) => id), all],
  );
  return rows.map((row) => {
    const table = { schema: row.schema, name: row.name };
    const relation = quoteTable(table);
    const of = (heir: Relation) => `CONSTRAINT ${quoteIdentifier(row.check)} ON ${quoteTable(heir)}`;
    return {
      ...suspendedCheck(row, `ALTER TABLE ${relation}`),
      what: `the check ${row.check} of ${displayTable(table)}`,
      table,
      relation,
      reinstate: [
        `ALTER TABLE ${relation} ADD CONSTRAINT ${quoteIdentifier(row.check)} ${notValid(row.definition)}`,
        ...commentOn(of(table), row.comment),
        ...row.inherited.flatMap((heir) => [
          ...commentOn(of(heir), heir.comment),
          ...(heir.validated && !row.validated
            ? [`ALTER TABLE ${quoteTable(heir)} VALIDATE CONSTRAINT ${quoteIdentifier(row.check)}`]
            : []),
        ]),
      ],
    };
  });
}

/** SQL: whether a table has an array, a composite or a range of the domain `t`: then PostgreSQL cannot validate its checks. */
const IN_CONTAINER = `EXISTS (
  WITH RECURSIVE users (oid, contains) AS (
    SELECT t.oid, false
    UNION
    SELECT outside.oid, users.contains OR outside.contains
      FROM users CROSS JOIN LATERAL (
        SELECT oid, false FROM pg_type WHERE typbasetype = users.oid
        UNION ALL SELECT oid, true FROM pg_type WHERE typelem = users.oid
        UNION ALL SELECT c.reltype, true FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
                   WHERE a.atttypid = users.oid AND NOT a.attisdropped AND c.reltype <> 0
        UNION ALL SELECT unnest(ARRAY[rngtypid, rngmultitypid]), true FROM pg_range WHERE rngsubtype = users.oid
      ) AS outside (oid, contains))
  SELECT FROM users JOIN pg_attribute a ON a.atttypid = users.oid AND NOT a.attisdropped
    JOIN pg_class c ON c.oid = a.attrelid AND c.relkind IN ('r', 'p', 'm')
   WHERE users.contains)`;

/**
 * Lists such checks of the domains that the tables' columns are made of, through arrays, composites and ranges. It omits
 * valid checks that PostgreSQL could not validate again.
 */
export async function listDomainChecks(
  session: Session,
  oids: number[],
  { uses, all }: SuspendedChecks,
): Promise<Suspension[]> {
  const rows = await session.query<Check>(
    `WITH RECURSIVE ${COLUMN_TYPES}, checks AS (
       SELECT k.oid, k.contypid, min(types.relation) AS relation FROM types JOIN pg_constraint k ON k.contypid = types.oid
        WHERE k.contype = 'c' AND (NOT k.convalidated OR $3 OR k.oid = ANY ($2::oid[])) GROUP BY k.oid)
     SELECT k.oid::int8::float8 AS oid, checks.relation::int8::float8 AS relation, n.nspname AS schema, t.typname AS name,
            k.conname AS check, pg_has_role(t.typowner, 'USAGE') AS owned, k.convalidated AS validated,
            pg_get_constraintdef(k.oid) AS definition, obj_description(k.oid, 'pg_constraint') AS comment
       FROM checks JOIN pg_constraint k ON k.oid = checks.oid
       JOIN pg_type t ON t.oid = k.contypid JOIN pg_namespace n ON n.oid = t.typnamespace
      WHERE NOT k.convalidated OR NOT ${IN_CONTAINER}
      ORDER BY k.oid`,
    [oids, uses.filter(({ kind }) => kind === 'domain').map(({ id }) => id), all],
  );
  return rows.map((row) => {
    const domain = quoteTable(row);
    return {
      ...suspendedCheck(row, `ALTER DOMAIN ${domain}`),
      what: `the check ${row.check} of the domain ${displayTable(row)}`,
      relation: domain,
      reinstate: [
        `ALTER DOMAIN ${domain} ADD CONSTRAINT ${quoteIdentifier(row.check)} ${notValid(row.definition)}`,
        ...commentOn(`CONSTRAINT ${quoteIdentifier(row.check)} ON DOMAIN ${domain}`, row.comment),
      ],
    };
  });
}

/** Returns the facts that checks of tables and domains share. A valid check is reinstated unvalidated, and validated at the end. */
function suspendedCheck({ check, owned, validated, relation }: Check, alter: string) {
  const constraint = quoteIdentifier(check);
  return {
    owned,
    suspend: `${alter} DROP CONSTRAINT ${constraint}`,
    ...(validated && {
      validate: { statement: `${alter} VALIDATE CONSTRAINT ${constraint}`, under: relation },
    }),
  };
}

/** Adds NOT VALID, unless the definition has it. */
function notValid(definition: string): string {
  return / NOT (VALID|ENFORCED)$/.test(definition) ? definition : `${definition} NOT VALID`;
}
