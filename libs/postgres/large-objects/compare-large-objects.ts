import type { Session } from '../connection/session.js';
import { hasPrivilege, type LargeObjectRight, rightsOf, SKIPS_PRIVILEGES } from './rights.js';

/** A large object as an archive describes it. */
export interface LargeObject {
  oid: number;
  bytes: number;
  /** Missing if the role does not exist in this database: then the object keeps its owner. */
  owner?: string;
  /** Null for the defaults; missing if they name a missing owner: then the object keeps its rights. */
  rights?: LargeObjectRight[] | null;
  /** Missing if it is not valid UTF-8: then the object keeps its comment. */
  comment?: string | null;
}

/** How an object of the database differs from the one of an archive. */
export interface LargeObjectDifference {
  oid: number;
  /** Whether the database has no object of this OID. */
  isMissing: boolean;
  /** The present owner; null if the object is missing. */
  liveOwner: string | null;
  /** The roles that have rights; null for PUBLIC. */
  holders: (string | null)[];
  owner: boolean;
  rights: boolean;
  comment: boolean;
  /** Whether the role may write the content. */
  writable: boolean;
  /** Whether the role has the rights of the present owner. */
  owned: boolean;
  /** Whether the role may act as the archived owner. */
  actsAsOwner: boolean;
}

/** Part of the large objects of an archive, in the order of their OIDs. */
export interface LargeObjectBatch {
  objects: LargeObject[];
  /** The range of OIDs that this batch is about: the batches of an archive cover all OIDs. */
  from: number;
  to: number;
}

/** The right of a role to become another one. From version 16 on, membership alone does not give it. */
const MAY_BECOME = `CASE WHEN current_setting('server_version_num')::int >= 160000 THEN 'SET' ELSE 'MEMBER' END`;

const ARCHIVED = `jsonb_to_recordset($1::jsonb) AS a (oid oid, owner text, rights jsonb, comment text, "keepsRights" boolean, "keepsComment" boolean)`;

/** SQL: the rights that an owner has by default, in the form of rightsOf(). */
const defaultRights = (owner: string) => `jsonb_build_array(
  jsonb_build_object('grantor', ${owner}, 'grantee', ${owner}, 'privilege', 'SELECT', 'grantable', false),
  jsonb_build_object('grantor', ${owner}, 'grantee', ${owner}, 'privilege', 'UPDATE', 'grantable', false))`;

/** Lists the objects of a batch that are missing, that differ in owner, rights or comment, or that the role may not write. */
export function compareLargeObjects(
  session: Session,
  { objects }: LargeObjectBatch,
): Promise<LargeObjectDifference[]> {
  const archived = objects.map(({ oid, owner, rights, comment }) => ({
    oid,
    owner,
    rights,
    comment,
    keepsRights: rights === undefined,
    keepsComment: comment === undefined,
  }));
  return session.query<LargeObjectDifference & Record<string, unknown>>(
    `SELECT oid::int8::float8 AS oid, "isMissing", "liveOwner", holders, owner, rights, comment, writable, owned, "actsAsOwner"
       FROM (SELECT a.oid, m.oid IS NULL AS "isMissing", pg_get_userbyid(m.lomowner)::text AS "liveOwner",
                    ARRAY(SELECT DISTINCT CASE WHEN acl.grantee <> 0 THEN pg_get_userbyid(acl.grantee)::text END
                            FROM aclexplode(coalesce(m.lomacl, acldefault('L', m.lomowner))) AS acl) AS holders,
                    m.oid IS NOT NULL AND a.owner <> pg_get_userbyid(m.lomowner) IS TRUE AS owner,
                    NOT a."keepsRights" AND (a.rights IS NOT NULL OR m.lomacl IS NOT NULL)
                    AND coalesce(a.rights, ${defaultRights('wanted.owner')})
                        <> CASE WHEN m.lomacl IS NULL THEN ${defaultRights('wanted.owner')} ELSE ${rightsOf('m.lomacl')} END AS rights,
                    NOT a."keepsComment" AND a.comment IS DISTINCT FROM obj_description(m.oid, 'pg_largeobject') AS comment,
                    m.oid IS NULL OR ${hasPrivilege('UPDATE')} AS writable,
                    m.oid IS NULL OR pg_has_role(m.lomowner, 'USAGE') AS owned,
                    a.owner IS NULL OR pg_has_role(a.owner, ${MAY_BECOME}) AND (${SKIPS_PRIVILEGES} OR pg_has_role(a.owner, 'USAGE')) AS "actsAsOwner"
               FROM ${ARCHIVED} LEFT JOIN pg_largeobject_metadata AS m ON m.oid = a.oid
               CROSS JOIN LATERAL (SELECT coalesce(a.owner, pg_get_userbyid(m.lomowner), current_user) AS owner) AS wanted) AS compared
      WHERE "isMissing" OR owner OR rights OR comment OR NOT writable
      ORDER BY oid`,
    [JSON.stringify(archived)],
  );
}

/** SQL: the objects in the batch's range that are not in the batch. */
const EXTRA = `pg_largeobject_metadata AS m
  WHERE m.oid BETWEEN $2::oid AND $3::oid AND NOT EXISTS (SELECT FROM unnest($1::oid[]) AS archived (oid) WHERE archived.oid = m.oid)`;

/** Counts the objects of the database that a batch lacks, and names the owners of those that the role may not remove. */
export async function countExtraLargeObjects(
  session: Session,
  batch: LargeObjectBatch,
): Promise<{ all: number; kept: number; owners: string[] }> {
  const [counts] = await session.query<{ all: number; kept: number; owners: string[] | null }>(
    `SELECT count(*)::float8 AS all, (count(*) FILTER (WHERE NOT removable))::float8 AS kept,
            array_agg(DISTINCT owner) FILTER (WHERE NOT removable) AS owners
       FROM (SELECT pg_get_userbyid(m.lomowner)::text AS owner, ${SKIPS_PRIVILEGES} OR pg_has_role(m.lomowner, 'USAGE') AS removable
               FROM ${EXTRA}) AS extra`,
    rangeOf(batch),
  );
  return { all: counts?.all ?? 0, kept: counts?.kept ?? 0, owners: counts?.owners ?? [] };
}

/** Removes the objects that a batch lacks. */
export async function removeExtraLargeObjects(session: Session, batch: LargeObjectBatch): Promise<void> {
  await session.query(`SELECT count(lo_unlink(m.oid)) FROM ${EXTRA}`, rangeOf(batch));
}

function rangeOf({ objects, from, to }: LargeObjectBatch): unknown[] {
  return [objects.map(({ oid }) => oid), from, to];
}

/** Finds the roles of these names. */
export async function findRoles(session: Session, names: string[]): Promise<Map<string, FoundRole>> {
  const rows = await session.query<FoundRole & { name: string }>(
    `SELECT rolname::text AS name, rolsuper AS superuser,
            pg_has_role(oid, CASE WHEN current_setting('server_version_num')::int >= 160000 THEN 'SET' ELSE 'MEMBER' END) AS "mayBeSet"
       FROM pg_roles WHERE rolname = ANY ($1)`,
    [names],
  );
  return new Map(rows.map(({ name, ...role }) => [name, role]));
}

export interface FoundRole {
  superuser: boolean;
  /** Whether this session may act as it, and give it objects. */
  mayBeSet: boolean;
}
