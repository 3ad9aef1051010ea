import type { Session } from '../connection/session.js';

/** Attributes that give a role more rights than its grants. */
const ATTRIBUTES = ['rolsuper', 'rolcreaterole', 'rolcreatedb', 'rolreplication', 'rolbypassrls'];

/**
 * SQL: whether the role `owner` has all rights of the role `worker`, and so gains nothing from code that runs as worker.
 * It must have the worker's attributes and memberships, and all grants to the worker must be on the owner's objects.
 * pg_shdepend lists every object that a role owns or has a grant on:
 * https://www.postgresql.org/docs/current/catalog-pg-shdepend.html
 */
const GAINS_NOTHING = `
  ${ATTRIBUTES.map((attribute) => `(NOT worker.${attribute} OR owner.${attribute})`).join(' AND ')}
  AND NOT EXISTS (
    SELECT FROM pg_roles AS other
     WHERE other.oid <> worker.oid AND pg_has_role(worker.oid, other.oid, 'MEMBER')
       AND NOT pg_has_role(owner.oid, other.oid, CASE WHEN current_setting('server_version_num')::int >= 160000 THEN 'SET' ELSE 'MEMBER' END))
  AND NOT EXISTS (
    SELECT FROM pg_shdepend AS d CROSS JOIN (SELECT oid FROM pg_database WHERE datname = current_database()) AS here
     WHERE d.refclassid = 'pg_authid'::regclass AND d.refobjid = worker.oid AND d.dbid IN (0, here.oid)
       AND NOT (d.deptype = 'a' AND CASE d.classid
         WHEN 'pg_class'::regclass THEN EXISTS (SELECT FROM pg_class WHERE oid = d.objid AND relowner = owner.oid)
         WHEN 'pg_proc'::regclass THEN EXISTS (SELECT FROM pg_proc WHERE oid = d.objid AND proowner = owner.oid)
         WHEN 'pg_type'::regclass THEN EXISTS (SELECT FROM pg_type WHERE oid = d.objid AND typowner = owner.oid)
         WHEN 'pg_default_acl'::regclass THEN EXISTS (SELECT FROM pg_default_acl WHERE oid = d.objid AND defaclrole = owner.oid)
         WHEN 'pg_namespace'::regclass THEN has_schema_privilege(owner.oid, d.objid, 'USAGE')
           AND (has_schema_privilege(owner.oid, d.objid, 'CREATE') OR NOT has_schema_privilege(worker.oid, d.objid, 'CREATE'))
         WHEN 'pg_database'::regclass THEN d.objid <> here.oid
           OR has_database_privilege(owner.oid, d.objid, 'CREATE') OR NOT has_database_privilege(worker.oid, d.objid, 'CREATE')
         ELSE false END))`;

/** SQL: functions, operators, types and operator classes, each with an owner whose code it runs. */
const CODE = `
  SELECT 'pg_proc'::regclass AS kind, oid, proowner AS owner FROM pg_proc
  UNION ALL
  SELECT 'pg_operator'::regclass, oid, oprowner FROM pg_operator
  UNION ALL
  SELECT 'pg_operator'::regclass, o.oid, p.proowner FROM pg_operator AS o JOIN pg_proc AS p ON p.oid = o.oprcode
  UNION ALL
  SELECT 'pg_type'::regclass, oid, typowner FROM pg_type
  UNION ALL
  SELECT 'pg_opclass'::regclass, oid, opcowner FROM pg_opclass`;

/**
 * SQL: the OIDs of the roles that gain nothing from code that runs as the session's role, or are that role.
 * @param candidates a query for the OIDs of the roles to check
 */
export function trustedRoles(candidates: string): string {
  return `SELECT owner.oid FROM pg_roles AS owner CROSS JOIN (SELECT * FROM pg_roles WHERE rolname = session_user) AS worker
           WHERE owner.oid IN (${candidates})
             AND (owner.rolsuper OR owner.oid = worker.oid OR (NOT worker.rolsuper AND ${GAINS_NOTHING}))`;
}

/** SQL: the owner of the schema `n`. The only member of pg_database_owner is the owner of this database. */
export const SCHEMA_OWNER = `CASE WHEN n.nspowner = to_regrole('pg_database_owner')
  THEN (SELECT datdba FROM pg_database WHERE datname = current_database()) ELSE n.nspowner END`;

/**
 * Lists the tables that a query may name, so that sessions can read them by ranges of blocks. To plan a query PostgreSQL
 * evaluates the constant parts of index expressions, index predicates and extended statistics with the rights of the
 * session's role: the table's owner could run code as that role. COPY of a whole table plans nothing.
 *
 * A table is plannable if its owner gains nothing by such code: it is a superuser, the session's role, or a role with
 * all rights of the session's role. The expressions must use functions of the owner and superusers only. The schema's
 * owner must gain nothing either: it could rename the schema and create another one with a table of the same name. To
 * check first and plan later is safe, because no other role could add an index or a table of that name.
 * @returns OIDs
 */
export async function listPlannable(session: Session, tables: { oid: number }[]): Promise<Set<number>> {
  if (tables.length === 0) return new Set();
  const rows = await session.query<{ oid: number }>(
    `WITH asked AS (
            SELECT c.oid, c.relowner, ${SCHEMA_OWNER} AS schema_owner
              FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
             WHERE c.oid = ANY ($1::oid[])),
          trusted AS (${trustedRoles('SELECT relowner FROM asked UNION SELECT schema_owner FROM asked')}),
          part AS (
            SELECT 'pg_class'::regclass AS classid, indexrelid AS objid, indrelid AS relation FROM pg_index
            UNION ALL
            SELECT 'pg_statistic_ext'::regclass, oid, stxrelid FROM pg_statistic_ext),
          code AS MATERIALIZED (
            SELECT * FROM (${CODE}) AS code WHERE owner NOT IN (SELECT oid FROM pg_roles WHERE rolsuper)),
          -- Each step is one join, so that the time does not grow faster than the number of tables.
          mixed AS MATERIALIZED (
            SELECT c.oid
              FROM code JOIN pg_depend AS d ON d.refclassid = code.kind AND d.refobjid = code.oid
              JOIN part USING (classid, objid) JOIN asked AS c ON c.oid = part.relation
             WHERE code.owner <> c.relowner)
     SELECT c.oid::int8::float8 AS oid
       FROM asked AS c
      WHERE c.relowner IN (SELECT oid FROM trusted) AND c.schema_owner IN (SELECT oid FROM trusted)
        AND c.oid NOT IN (SELECT oid FROM mixed)`,
    [tables.map(({ oid }) => oid)],
  );
  return new Set(rows.map(({ oid }) => oid));
}
