import { Failure } from '#contracts';
import { sqlState } from './errors.js';
import { quoteIdentifier } from './identifiers.js';
import { setSearchPath } from './search-path.js';
import type { Session } from './session.js';

/** The search_path for code of a relation's owner, such as functions that its checks call. */
export interface TrustedPath {
  /** Behind pg_catalog, in this order. */
  schemas: string[];
  /** Schemas of the default path that are not in it. */
  dropped: DroppedSchema[];
}

interface DroppedSchema {
  schema: string;
  /** Why it is not trusted, and the statement that changes that. */
  reason: string;
  remedy: string;
}

interface Relation {
  oid: number;
}

/**
 * For each relation the part of its owner's default search_path that nobody else can fill: those schemas in which
 * only its owner, the tables' owners, superusers and this session's role may create, and in which nothing belongs to
 * anybody else. A function in another schema, such as public.lower(varchar), would take the place of the one that a
 * check's author meant, and run with the rights of this session.
 *
 * The default path is what ALTER ROLE has set for the owner, or else what this session began with: what is set for
 * its own role, the database or the server. "$user" is the owner.
 * @param tables what is loaded
 * @param others what is only validated or refreshed
 * @returns paths by OID; those of one owner are one object
 */
export async function listTrustedPaths(
  session: Session,
  tables: Relation[],
  others: Relation[] = [],
): Promise<Map<number, TrustedPath>> {
  const oids = (relations: Relation[]) => relations.map(({ oid }) => oid);
  const relations = await session.query<{ oid: number; owner: string; path: string }>(
    `SELECT c.oid::int8::float8 AS oid, r.rolname AS owner,
            coalesce((SELECT substr(setting, strpos(setting, '=') + 1)
                        FROM pg_db_role_setting s CROSS JOIN unnest(s.setconfig) AS setting
                       WHERE s.setrole = r.oid AND setting LIKE 'search\\_path=%'
                         AND s.setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
                       ORDER BY s.setdatabase DESC LIMIT 1),
                     (SELECT reset_val FROM pg_settings WHERE name = 'search_path')) AS path
       FROM pg_class c JOIN pg_roles r ON r.oid = c.relowner
      WHERE c.oid = ANY ($1::oid[])`,
    [oids([...tables, ...others])],
  );
  const wanted = new Map(
    relations.map(({ owner, path }) => [
      owner,
      parseSearchPath(path).map((schema) => (schema === '$user' ? owner : schema)),
    ]),
  );
  const named = [...new Set([...wanted.values()].flat())];
  // One that is made later, such as for "$user", was looked at by nobody.
  const there = await session.query<{ name: string }>(
    'SELECT nspname AS name FROM pg_namespace WHERE nspname = ANY ($1)',
    [named],
  );
  const strangers = await listStrangers(session, named, oids(tables));
  const isTrusted = (schema: string, dropped: Stranger[]) =>
    there.some(({ name }) => name === schema) && !dropped.some((one) => one.schema === schema);
  const paths = new Map(
    [...wanted].map(([owner, schemas]) => {
      const dropped = strangers.filter(({ schema, role }) => schemas.includes(schema) && role !== owner);
      const path: TrustedPath = {
        schemas: schemas.filter((schema) => isTrusted(schema, dropped)),
        dropped: dropped.map((stranger) => explain(stranger, owner)),
      };
      return [owner, path];
    }),
  );
  return new Map(relations.map(({ oid, owner }) => [oid, paths.get(owner) ?? { schemas: [], dropped: [] }]));
}

/**
 * Runs a statement that runs a relation's code, under that path; what comes later runs under the safe one again.
 * @throws what the statement failed with; if a name was not found, with the schemas in which nobody looked for it
 */
export async function underPath<Result>(
  session: Session,
  path: TrustedPath | undefined,
  statement: () => Promise<Result>,
): Promise<Result> {
  const schemas = path?.schemas ?? [];
  if (schemas.length > 0) await session.query(setSearchPath(schemas));
  let result: Result;
  try {
    result = await statement();
  } catch (error) {
    // Refused in a transaction, whose end has the same effect.
    await session.query(setSearchPath()).catch(() => undefined);
    throw withDroppedSchemas(error, path);
  }
  if (schemas.length > 0) await session.query(setSearchPath());
  return result;
}

function withDroppedSchemas(error: unknown, path: TrustedPath | undefined): unknown {
  if (!(error instanceof Failure) || !UNDEFINED.has(sqlState(error) ?? '')) return error;
  const hints = (path?.dropped ?? []).map(
    ({ schema, reason, remedy }) =>
      `The schema ${schema} was left out of search_path because ${reason}. ${remedy}`,
  );
  if (hints.length === 0) return error;
  return new Failure(error.code, error.persistence, error.message, { hint: hints.join(' '), cause: error });
}

/** undefined_function (operators too), undefined_object (types), undefined_table */
const UNDEFINED = new Set(['42883', '42704', '42P01']);

/** Somebody who is not trusted, and what they can do in a schema: create in it, or change an object that is there. */
interface Stranger {
  schema: string;
  /** A role's name; missing for all roles. */
  role: string | null;
  /** How they may create in it; missing where an object belongs to them. */
  by: 'ownership' | 'grant' | null;
  /** Such as "function public.lower(character varying)". */
  object: string | null;
}

/** Who else than the tables' owners, superusers and this session's role has a say in schemas. */
function listStrangers(session: Session, schemas: string[], tables: number[]): Promise<Stranger[]> {
  return session.query<Stranger>(
    `WITH asked AS (SELECT * FROM pg_namespace WHERE nspname = ANY ($1)),
     say (schema, role, by, object) AS (
       SELECT nspname, nspowner, 'ownership', NULL FROM asked
       UNION ALL
       SELECT nspname, grantee, 'grant', NULL FROM asked, aclexplode(nspacl)
        WHERE privilege_type = 'CREATE' AND grantee <> nspowner
       UNION ALL
       SELECT nspname, owner, NULL, min(pg_describe_object(class, object, 0))
         FROM asked JOIN (
           SELECT pronamespace, proowner, 'pg_proc'::regclass, oid FROM pg_proc
           UNION ALL SELECT oprnamespace, oprowner, 'pg_operator'::regclass, oid FROM pg_operator
           UNION ALL SELECT typnamespace, typowner, 'pg_type'::regclass, oid FROM pg_type WHERE typrelid = 0 AND typelem = 0
           UNION ALL SELECT relnamespace, relowner, 'pg_class'::regclass, oid FROM pg_class WHERE relkind IN ('r', 'p', 'v', 'm', 'f')
         ) AS inside (namespace, owner, class, object) ON inside.namespace = asked.oid
        WHERE owner <> nspowner
        GROUP BY nspname, owner)
     SELECT say.schema, CASE WHEN say.role <> 0 THEN coalesce(r.rolname, say.role::text) END AS role, say.by, say.object
       FROM say
       -- The members of this role are the owners of the present database.
       LEFT JOIN pg_roles r ON r.oid = CASE WHEN say.role = to_regrole('pg_database_owner')
                                            THEN (SELECT datdba FROM pg_database WHERE datname = current_database())
                                            ELSE say.role END
      WHERE NOT coalesce(r.rolsuper OR r.rolname IN (current_user, session_user)
                         OR r.oid IN (SELECT relowner FROM pg_class WHERE oid = ANY ($2::oid[])), false)
      ORDER BY say.schema, say.object NULLS FIRST, role NULLS FIRST`,
    [schemas, tables],
  );
}

function explain({ schema, role, by, object }: Stranger, owner: string): DroppedSchema {
  const name = quoteIdentifier(schema);
  if (by === 'ownership')
    return {
      schema,
      reason: `the role ${role} owns it`,
      remedy: `Run: ALTER SCHEMA ${name} OWNER TO ${quoteIdentifier(owner)};`,
    };
  if (by === 'grant')
    return {
      schema,
      reason: `${role === null ? 'every role' : `the role ${role}`} may create in it`,
      remedy: `Run: REVOKE CREATE ON SCHEMA ${name} FROM ${role === null ? 'PUBLIC' : quoteIdentifier(role)};`,
    };
  return {
    schema,
    reason: `the ${object} in it belongs to the role ${role}`,
    remedy: `Drop it, or make ${owner} its owner.`,
  };
}

/**
 * The schemas of a search_path as PostgreSQL writes it down: names with commas between them, folded to lower case
 * unless they are in quotes.
 */
export function parseSearchPath(path: string): string[] {
  return [...path.matchAll(/"((?:[^"]|"")*)"|[^\s,"]+/g)].map(([plain, quoted]) =>
    quoted === undefined ? plain.toLowerCase() : quoted.replaceAll('""', '"'),
  );
}
