import { type Setting, settingOf } from '../connection/configured-settings.js';
import type { Session } from '../connection/session.js';

/** The roles that the objects and rights of a database name, and their memberships. */
export interface Roles {
  roles: Role[];
  /** Each after the one that gives its grantor the right to grant it. */
  memberships: Membership[];
}

export interface Role {
  name: string;
  /** Whether something in the database names it. The others are there for their memberships. */
  named: boolean;
  superuser: boolean;
  inherit: boolean;
  createRole: boolean;
  createDatabase: boolean;
  login: boolean;
  replication: boolean;
  bypassRls: boolean;
  /** -1 for none. */
  connectionLimit: number;
  /** The end of its password's validity. */
  validUntil: string | null;
  comment: string | null;
  /** Its settings in all databases. */
  settings: Setting[];
}

export interface Membership {
  role: string;
  member: string;
  admin: boolean;
  /** The other members are missing before PostgreSQL 16, where they say nothing. */
  inherit?: boolean;
  set?: boolean;
  /** Missing also if it is the bootstrap superuser, which the server names itself. */
  grantor?: string;
}

/** The OID of the superuser that initdb creates. */
const BOOTSTRAP_SUPERUSER = 10;

/**
 * SQL: `named`, the OIDs of the roles that own something in this database, or have a right, a policy, a mapping or a
 * setting in it; and `kept`, those that are such a role or a member of one; and of the roles that these are members of, with the grantors. pg_shdepend does
 * not list the bootstrap superuser, and never PostgreSQL's predefined roles, whose members are not followed.
 * https://www.postgresql.org/docs/current/catalog-pg-shdepend.html
 */
const KEPT = `
  here AS (SELECT oid, datdba FROM pg_database WHERE datname = current_database()),
  named (oid) AS (
    SELECT d.refobjid FROM pg_shdepend d CROSS JOIN here
     WHERE d.refclassid = 'pg_authid'::regclass
       AND (d.dbid = here.oid OR d.classid = 'pg_database'::regclass AND d.objid = here.oid)
    UNION SELECT s.setrole FROM pg_db_role_setting s CROSS JOIN here WHERE s.setdatabase = here.oid
    UNION SELECT datdba FROM here
  ),
  member (oid) AS (
    (SELECT oid FROM named UNION SELECT ${BOOTSTRAP_SUPERUSER})
    UNION
    SELECT m.member
      FROM member JOIN pg_roles r ON r.oid = member.oid AND NOT starts_with(r.rolname, 'pg_')
      JOIN pg_auth_members m ON m.roleid = member.oid
  ),
  kept (oid) AS (
    SELECT oid FROM member
    UNION
    SELECT above.oid
      FROM kept JOIN pg_auth_members m ON m.member = kept.oid
      CROSS JOIN LATERAL (VALUES (m.roleid), (CASE WHEN to_jsonb(m) ? 'set_option' THEN m.grantor END)) AS above (oid)
     WHERE above.oid IS NOT NULL
  )`;

interface MembershipRow {
  role: string;
  member: string;
  grantor: string;
  byBootstrap: boolean;
  options: { admin_option: boolean; inherit_option?: boolean; set_option?: boolean };
}

/** Reads the roles of the session's database. Any role may read all of these catalogs, which hold no passwords. */
export async function readRoles(session: Session): Promise<Roles> {
  const roles = await session.query<Omit<Role, 'settings'> & { settings: string[] }>(
    `WITH RECURSIVE ${KEPT}
     SELECT r.rolname::text AS name, r.oid IN (SELECT oid FROM named) AS named, r.rolsuper AS superuser, r.rolinherit AS inherit, r.rolcreaterole AS "createRole",
            r.rolcreatedb AS "createDatabase", r.rolcanlogin AS login, r.rolreplication AS replication,
            r.rolbypassrls AS "bypassRls", r.rolconnlimit AS "connectionLimit", r.rolvaliduntil::text AS "validUntil",
            shobj_description(r.oid, 'pg_authid') AS comment,
            coalesce((SELECT to_json(s.setconfig) FROM pg_db_role_setting s
                       WHERE s.setrole = r.oid AND s.setdatabase = 0), '[]') AS settings
       FROM kept JOIN pg_roles r USING (oid)
      WHERE NOT starts_with(r.rolname, 'pg_')
      ORDER BY r.rolname COLLATE "C"`,
  );
  const memberships = await session.query<MembershipRow>(
    `WITH RECURSIVE ${KEPT}
     SELECT role.rolname::text AS role, member.rolname::text AS member, pg_get_userbyid(m.grantor)::text AS grantor,
            m.grantor = ${BOOTSTRAP_SUPERUSER} AS "byBootstrap", to_jsonb(m) AS options
       FROM pg_auth_members m JOIN pg_roles role ON role.oid = m.roleid JOIN pg_roles member ON member.oid = m.member
      WHERE m.roleid IN (SELECT oid FROM kept) AND m.member IN (SELECT oid FROM kept)
        AND NOT (starts_with(role.rolname, 'pg_') AND starts_with(member.rolname, 'pg_'))
      ORDER BY role.rolname COLLATE "C", member.rolname COLLATE "C", m.grantor`,
  );
  return {
    roles: roles.map((role) => ({ ...role, settings: role.settings.map(settingOf) })),
    memberships: inOrderOfGrants(memberships.map(membershipOf)),
  };
}

function membershipOf({ role, member, grantor, byBootstrap, options }: MembershipRow): Membership {
  const { admin_option: admin, inherit_option: inherit, set_option: set } = options;
  // Up to PostgreSQL 15 the grantor needed no right that a newer server could check.
  if (inherit === undefined || set === undefined) return { role, member, admin };
  return { role, member, admin, inherit, set, ...(!byBootstrap && { grantor }) };
}

/** Orders memberships so that each grantor has the ADMIN option before it grants. */
function inOrderOfGrants(memberships: Membership[]): Membership[] {
  const ordered: Membership[] = [];
  let remaining = memberships;
  while (remaining.length > 0) {
    const mayGrant = ({ role, grantor }: Membership) =>
      grantor === undefined ||
      ordered.some((one) => one.admin && one.role === role && one.member === grantor);
    const next = remaining.filter(mayGrant);
    // A server would have refused such a grant. The file is still right for a reader.
    if (next.length === 0) return [...ordered, ...remaining];
    ordered.push(...next);
    remaining = remaining.filter((one) => !next.includes(one));
  }
  return ordered;
}
