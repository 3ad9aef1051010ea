import { Failure } from '#common';
import { sqlState } from '../connection/errors.js';
import { quoteIdentifier, setSearchPath } from '../connection/identifiers.js';
import type { Session } from '../connection/session.js';

/** The search_path under which a relation's code runs, such as functions that its checks call. */
export interface TrustedPath {
  /** The schemas after pg_catalog, in this order. */
  schemas: string[];
  /** Schemas of the default path that are not trusted. */
  dropped: DroppedSchema[];
}

interface DroppedSchema {
  schema: string;
  /** Why it is not trusted. */
  reason: string;
  /** The next step. */
  remedy: string;
}

/**
 * Lists for each relation the trusted part of its owner's default search_path: the schemas in which only its owner,
 * the tables' owners, superusers and this session's role may create, and in which no object belongs to another role.
 * A function in any other schema, such as public.lower(varchar), could replace the one that a check's author meant,
 * and run with the rights of this session.
 *
 * The default path is the owner's setting (ALTER ROLE), or else the path that this session began with, which its role,
 * the database or the server sets. "$user" means the owner.
 * @param tables the tables to be loaded
 * @param others relations that are only validated or refreshed
 * @returns paths by OID
 */
export async function listTrustedPaths(
  session: Session,
  tables: { oid: number }[],
  others: { oid: number }[] = [],
): Promise<Map<number, TrustedPath>> {
  const oids = (relations: { oid: number }[]) => relations.map(({ oid }) => oid);
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
  // A schema that is created later, such as one for "$user", is not trusted.
  const existing = await session.query<{ name: string }>(
    'SELECT nspname AS name FROM pg_namespace WHERE nspname = ANY ($1)',
    [named],
  );
  const strangers = await listStrangers(session, named, oids(tables));
  const isTrusted = (schema: string, dropped: Stranger[]) =>
    existing.some(({ name }) => name === schema) && !dropped.some((one) => one.schema === schema);
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
 * Runs a statement under the trusted path of the relation whose code it runs. Later statements run under the safe path.
 * @throws the statement's failure; if PostgreSQL did not find a name, the hint names the schemas that are not trusted
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
    // A failed transaction refuses this, and its rollback restores the safe path.
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
      `The schema ${schema} was omitted from search_path because ${reason}. ${remedy}`,
  );
  if (hints.length === 0) return error;
  const { code, persistence, message, confidential } = error;
  return new Failure(code, persistence, message, { hint: hints.join(' '), cause: error, confidential });
}

/** undefined_function (operators too), undefined_object (types), undefined_table */
const UNDEFINED = new Set(['42883', '42704', '42P01']);

/** A role that is not trusted and may create in a schema, or owns an object in it. */
interface Stranger {
  schema: string;
  /** The role's name; null for PUBLIC. */
  role: string | null;
  /** Why the role may create in the schema; null if it only owns an object there. */
  by: 'ownership' | 'grant' | null;
  /** Such as "function public.lower(character varying)". */
  object: string | null;
}

/** Lists the roles with rights in these schemas, except the tables' owners, superusers and this session's role. */
function listStrangers(session: Session, schemas: string[], tables: number[]): Promise<Stranger[]> {
  return session.query<Stranger>(
    `WITH asked AS (SELECT * FROM pg_namespace WHERE nspname = ANY ($1)),
     say (schema, role, by, class, object) AS (
       SELECT nspname, nspowner, 'ownership', 0, 0 FROM asked
       UNION ALL
       SELECT nspname, grantee, 'grant', 0, 0 FROM asked, aclexplode(nspacl)
        WHERE privilege_type = 'CREATE' AND grantee <> nspowner
       UNION ALL
       SELECT nspname, owner, NULL, class, min(object)
         FROM asked JOIN (
           SELECT pronamespace, proowner, 'pg_proc'::regclass, oid FROM pg_proc
           UNION ALL SELECT oprnamespace, oprowner, 'pg_operator'::regclass, oid FROM pg_operator
           UNION ALL SELECT typnamespace, typowner, 'pg_type'::regclass, oid FROM pg_type WHERE typrelid = 0 AND typelem = 0
           UNION ALL SELECT relnamespace, relowner, 'pg_class'::regclass, oid FROM pg_class WHERE relkind IN ('r', 'p', 'v', 'm', 'f')
         ) AS inside (namespace, owner, class, object) ON inside.namespace = asked.oid
        WHERE owner <> nspowner
        GROUP BY nspname, owner, class)
     SELECT say.schema, CASE WHEN say.role <> 0 THEN coalesce(r.rolname, say.role::text) END AS role, say.by,
            CASE WHEN say.object <> 0 THEN pg_describe_object(say.class, say.object, 0) END AS object
       FROM say
       -- Its only member is the owner of this database.
       LEFT JOIN pg_roles r ON r.oid = CASE WHEN say.role = to_regrole('pg_database_owner')
                                            THEN (SELECT datdba FROM pg_database WHERE datname = current_database())
                                            ELSE say.role END
      WHERE NOT coalesce(r.rolsuper OR r.rolname IN (current_user, session_user)
                         OR r.oid IN (SELECT relowner FROM pg_class WHERE oid = ANY ($2::oid[])), false)
      ORDER BY say.schema, say.object, role NULLS FIRST`,
    [schemas, tables],
  );
}

/** Says why a schema is not trusted. */
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

/** Parses a search_path as PostgreSQL stores it: names separated by commas, in lower case unless they are quoted. */
export function parseSearchPath(path: string): string[] {
  return [...path.matchAll(/"((?:[^"]|"")*)"|[^\s,"]+/g)].map(([plain, quoted]) =>
    quoted === undefined ? plain.toLowerCase() : quoted.replaceAll('""', '"'),
  );
}
