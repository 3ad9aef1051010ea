import { Failure } from '#common';
import { quoteIdentifier, quoteTable, type Relation } from '../connection/identifiers.js';
import type { Session } from '../connection/session.js';
import type { Suspension } from './suspension.js';

/** Objects or statements that a message lists. */
const NAMED = 10;

interface Missing {
  name: string;
  /** The word after ALTER. */
  kind: 'TABLE' | 'SEQUENCE' | 'DOMAIN';
  owner: string;
  role: string;
  superuser: boolean;
  /** Whether the role is a member of the owner. */
  member: boolean;
  /** Whether the role has the owner's rights, so that another right is missing. */
  owned: boolean;
  grantsInherit: boolean;
  /** Whether a change of a table's owner changes its owner. */
  follows: boolean;
}

/** The rights of owners that a role lacks to restore relations. */
export interface MissingOwnership {
  /** Sentences that name the objects. */
  message: string;
  /** Memberships in the owners. */
  grants: string[];
  /** New owners for objects of superusers: membership in a superuser would grant too many rights. */
  changes: string[];
}

/**
 * Finds the rights of the owners of tables, sequences, and tables whose foreign keys point to them that the role lacks.
 * Privileges are not enough to reinstate constraints; membership in an owner is.
 * @returns undefined if it lacks none
 */
export async function missingOwnership(
  session: Session,
  relations: Relation[],
  suspensions: Suspension[],
): Promise<MissingOwnership | undefined> {
  const closed = suspensions.filter(({ owned }) => !owned);
  const isDomain = ({ table }: Suspension) => table === undefined;
  const missing = await session.query<Missing & Record<string, unknown>>(
    `WITH wanted AS (
       SELECT DISTINCT name, false AS domain, false AS closed, name::regclass::oid AS oid FROM unnest($1::text[]) AS name WHERE name <> ALL ($2)
       UNION SELECT name, false, true, name::regclass FROM unnest($2::text[]) AS name
       UNION SELECT name, true, true, name::regtype FROM unnest($3::text[]) AS name)
     SELECT w.name, CASE WHEN w.domain THEN 'DOMAIN' WHEN c.relkind = 'S' THEN 'SEQUENCE' ELSE 'TABLE' END AS kind,
            owner.rolname AS owner, current_user AS role, owner.rolsuper AS superuser,
            pg_has_role(owner.oid, 'MEMBER') AS member, pg_has_role(owner.oid, 'USAGE') AS owned,
            current_setting('server_version_num')::int >= 160000 AS "grantsInherit",
            coalesce(c.relkind = 'S', false) AND EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype IN ('a', 'i')) AS follows
       FROM wanted w LEFT JOIN pg_class c ON NOT w.domain AND c.oid = w.oid LEFT JOIN pg_type t ON w.domain AND t.oid = w.oid
       JOIN pg_roles owner ON owner.oid IN (c.relowner, t.typowner)
      WHERE w.closed OR NOT pg_has_role(owner.oid, 'USAGE')
      ORDER BY w.name COLLATE "C"`,
    [
      relations.map(quoteTable),
      closed.filter((one) => !isDomain(one)).map(({ relation }) => relation),
      closed.filter(isDomain).map(({ relation }) => relation),
    ],
  );
  const [first] = missing;
  if (first === undefined) return undefined;
  const owned = new Set(missing.filter((one) => one.owned).map(({ name }) => name));
  const beyond = closed.filter(({ relation }) => owned.has(relation)).map(({ what }) => what);
  const names = missing.filter((one) => !one.owned).map(({ name }) => name);
  const message = [
    ...(names.length > 0
      ? [
          `The role ${first.role} must own ${some(names, ', ')}, or be a member of the owners, to restore them.`,
        ]
      : []),
    ...(beyond.length > 0 ? [`Only a superuser may change ${some(beyond, ', ')}.`] : []),
  ].join(' ');
  return { message, ...remedies(missing) };
}

/**
 * Checks that the role has these rights.
 * @throws Failure OWNERSHIP_MISSING naming all objects, with the statements to run
 */
export async function checkOwnership(
  session: Session,
  relations: Relation[],
  suspensions: Suspension[],
): Promise<void> {
  const missing = await missingOwnership(session, relations, suspensions);
  if (missing === undefined) return;
  const { message, grants, changes } = missing;
  const hint = [
    'Nothing was changed.',
    ...(grants.length > 0
      ? [`Run: ${grants.join(' ')} Or let REPOSITORY_URL name a role that has these rights.`]
      : []),
    ...(changes.length > 0
      ? [`A superuser should not own objects that a restore changes. Have one run ${some(changes, ' ')}`]
      : []),
  ].join(' ');
  throw new Failure('OWNERSHIP_MISSING', 'permanent', message, { hint });
}

/** Returns the next steps. */
function remedies(missing: Missing[]): Pick<MissingOwnership, 'grants' | 'changes'> {
  const lacking = missing.filter(({ owned }) => !owned);
  const owners = new Map(lacking.map((one) => [one.owner, one]));
  const grants = [...owners.values()]
    .filter(({ superuser }) => !superuser)
    .map(({ owner, role, member, grantsInherit }) => {
      const [from, to] = [quoteIdentifier(owner), quoteIdentifier(role)];
      if (!member) return `GRANT ${from} TO ${to};`;
      return grantsInherit ? `GRANT ${from} TO ${to} WITH INHERIT TRUE;` : `ALTER ROLE ${to} INHERIT;`;
    });
  const changes = lacking
    .filter(({ superuser, follows }) => superuser && !follows)
    .map(({ kind, name, role }) => `ALTER ${kind} ${name} OWNER TO ${quoteIdentifier(role)};`);
  return { grants: [...new Set(grants)], changes };
}

function some(things: string[], separator: string): string {
  const more = things.length > NAMED ? ` and ${things.length - NAMED} more` : '';
  return things.slice(0, NAMED).join(separator) + more;
}
