import { KEYS_TO_OTHERS, type Members } from '../catalog/members.js';
import type { Session } from '../connection/session.js';
import { objectKey } from './locked-objects.js';
import type { TocEntry } from './table-of-contents.js';

/** The objects of the definitions, if these are not the whole database. */
export interface ChosenObjects {
  /** Whether the definitions hold these objects alone, or all but these. */
  hold: 'these' | 'others';
  /** As {@link objectKey} names them. */
  keys: Set<string>;
  /** The base types and ranges among them as `schema.name`: the first statement of each has no OID in pg_dump's text. */
  types: Set<string>;
  /** Schemas without an object of the definitions. */
  unrelated: string[];
}

/** OIDs of PostgreSQL's own objects are smaller. */
const FIRST_NORMAL_OID = 16_384;

/** Objects of the whole database, which come with all schemas only, and the tables and schemas that they name. */
const OF_DATABASE =
  "'pg_publication', 'pg_publication_rel', 'pg_publication_namespace', 'pg_event_trigger', 'pg_subscription'";

/** Objects without which an object would not be whole, such as its indexes and defaults, depend on it in these ways. */
const PARTS = "'a', 'i', 'S'";

/** SQL: lists of both modes. */
const COMMON = `
  of_database AS MATERIALIZED (
    SELECT oid FROM pg_class WHERE relnamespace = 'pg_catalog'::regnamespace AND relname IN (${OF_DATABASE})),
  lost_key AS MATERIALIZED (${KEYS_TO_OTHERS})`;

/**
 * SQL: objects, all that they depend on, and the parts of all of these. Partitions are no parts.
 * @param within the only objects that are looked at
 */
function withNeeded(name: string, from: string, within = ''): string {
  return `${name} (classid, objid) AS (
    SELECT classid, objid FROM ${from}
     UNION
    SELECT next.classid, next.objid
      FROM ${name} CROSS JOIN LATERAL (
        SELECT d.refclassid AS classid, d.refobjid AS objid
          FROM pg_depend d WHERE d.classid = ${name}.classid AND d.objid = ${name}.objid
         UNION ALL
        SELECT d.classid, d.objid
          FROM pg_depend d LEFT JOIN pg_class c ON d.classid = 'pg_class'::regclass AND c.oid = d.objid
         WHERE d.refclassid = ${name}.classid AND d.refobjid = ${name}.objid AND d.deptype IN (${PARTS})
           AND d.classid NOT IN (SELECT oid FROM of_database)
           AND NOT (d.classid = 'pg_constraint'::regclass AND d.objid IN (SELECT oid FROM lost_key))
           AND NOT (coalesce(c.relispartition, false) AND c.relkind IN ('r', 'p', 'f')
                    AND NOT EXISTS (SELECT FROM unnest($1::oid[]) AS known (oid) WHERE known.oid = c.oid))) AS next
      ${within})`;
}

/** SQL: objects as {@link ChosenObjects} has them. */
function chosenFrom(query: string): string {
  return `
    SELECT o.classid::int8::float8 AS catalog, o.objid::int8::float8 AS oid, n.nspname || '.' || t.typname AS type
      FROM (${query}) AS o
      LEFT JOIN pg_type t ON o.classid = 'pg_type'::regclass AND t.oid = o.objid AND t.typtype IN ('b', 'r') AND t.typcategory <> 'A'
      LEFT JOIN pg_namespace n ON n.oid = t.typnamespace`;
}

/**
 * The objects of listed schemas, and all that they depend on. Casts and transforms have no schema: those between needed
 * types are needed. $2: the schemas; $3: excluded tables
 */
const NEEDED = `
  WITH RECURSIVE ${COMMON},
  root AS (
    SELECT 'pg_namespace'::regclass::oid AS classid, oid AS objid FROM pg_namespace WHERE nspname = ANY ($2)
     UNION ALL
    SELECT 'pg_class'::regclass, unnest($1::oid[])
     UNION ALL
    -- The archive holds the rows of all extensions' configuration.
    SELECT 'pg_extension'::regclass, oid FROM pg_extension WHERE extconfig IS NOT NULL
     UNION ALL
    SELECT d.classid, d.objid
      FROM pg_depend d JOIN pg_namespace n ON d.refclassid = 'pg_namespace'::regclass AND n.oid = d.refobjid
     WHERE n.nspname = ANY ($2) AND d.classid NOT IN (SELECT oid FROM of_database)
       -- Statistics are parts of their tables.
       AND d.classid <> 'pg_statistic_ext'::regclass
       AND NOT (d.classid = 'pg_class'::regclass AND d.objid = ANY ($3::oid[]))),
  ${withNeeded('needed', 'root')},
  conversion AS (
    SELECT 'pg_cast'::regclass::oid AS classid, c.oid AS objid
      FROM pg_cast c CROSS JOIN LATERAL (VALUES (c.castsource), (c.casttarget)) AS type (oid)
      LEFT JOIN needed ON needed.classid = 'pg_type'::regclass AND needed.objid = type.oid
     GROUP BY c.oid
    HAVING bool_and(type.oid < ${FIRST_NORMAL_OID} OR needed.objid IS NOT NULL) AND bool_or(needed.objid IS NOT NULL)
     UNION ALL
    SELECT 'pg_transform'::regclass, t.oid
      FROM pg_transform t JOIN needed ON needed.classid = 'pg_type'::regclass AND needed.objid = t.trftype),
  ${withNeeded('more', 'conversion')}
  ${chosenFrom('SELECT * FROM needed UNION SELECT * FROM more')}`;

/**
 * The objects that only excluded schemas and tables have or need: other objects may need a table of these, such as a view
 * over it. Extensions are objects of the database, although each names a schema. Two kinds of objects are parts of
 * several: constraint triggers FROM another table belong to their own one, and operators and functions that were added to
 * a family belong to the family. $2: excluded schemas; $3: excluded tables
 */
const NEEDED_BY_NONE = `
  WITH RECURSIVE ${COMMON},
  barred (classid, objid) AS (
    (SELECT 'pg_namespace'::regclass::oid, oid FROM pg_namespace WHERE nspname = ANY ($2)
      UNION ALL
     SELECT 'pg_class'::regclass, unnest($3::oid[])
      UNION ALL
     SELECT 'pg_constraint'::regclass, oid FROM lost_key)
     UNION
    SELECT d.classid, d.objid
      FROM barred JOIN pg_depend d ON d.refclassid = barred.classid AND d.refobjid = barred.objid
      LEFT JOIN pg_trigger t ON d.classid = 'pg_trigger'::regclass AND t.oid = d.objid AND d.refclassid = 'pg_class'::regclass
     WHERE CASE WHEN d.classid IN ('pg_amop'::regclass, 'pg_amproc'::regclass)
                THEN d.deptype IN (${PARTS}) AND d.refclassid IN ('pg_opfamily'::regclass, 'pg_opclass'::regclass)
                WHEN d.refclassid = 'pg_namespace'::regclass
                THEN d.classid NOT IN ('pg_statistic_ext'::regclass, 'pg_extension'::regclass)
                ELSE d.deptype IN (${PARTS}) AND coalesce(t.tgrelid = d.refobjid, true) END),
  conversion AS (
    SELECT 'pg_cast'::regclass::oid AS classid, c.oid AS objid, type.oid AS type
      FROM pg_cast c CROSS JOIN LATERAL (VALUES (c.castsource), (c.casttarget)) AS type (oid)
      JOIN barred ON barred.classid = 'pg_type'::regclass AND barred.objid = type.oid
     UNION ALL
    SELECT 'pg_transform'::regclass, t.oid, t.trftype
      FROM pg_transform t JOIN barred ON barred.classid = 'pg_type'::regclass AND barred.objid = t.trftype),
  other AS MATERIALIZED (
    SELECT * FROM barred UNION SELECT classid, objid FROM conversion),
  root AS (
    SELECT d.refclassid AS classid, d.refobjid AS objid
      FROM pg_depend d JOIN other ON other.classid = d.refclassid AND other.objid = d.refobjid
     WHERE NOT EXISTS (SELECT FROM other WHERE other.classid = d.classid AND other.objid = d.objid)),
  ${withNeeded('needed', 'root', 'JOIN other ON other.classid = next.classid AND other.objid = next.objid')},
  usable AS (
    SELECT conversion.classid, conversion.objid
      FROM conversion LEFT JOIN needed ON needed.classid = 'pg_type'::regclass AND needed.objid = conversion.type
     GROUP BY conversion.classid, conversion.objid HAVING bool_and(needed.objid IS NOT NULL)),
  ${withNeeded('more', 'usable', 'JOIN other ON other.classid = next.classid AND other.objid = next.objid')}
  ${chosenFrom('SELECT * FROM other EXCEPT SELECT * FROM needed EXCEPT SELECT * FROM more')}`;

/**
 * Chooses the objects of the definitions by PostgreSQL's own record of dependencies. It does not know the objects that
 * functions name in their text. https://www.postgresql.org/docs/current/catalog-pg-depend.html
 * @param listsSchemas false if the members are of all schemas
 * @returns undefined if the definitions hold all objects
 */
export async function chooseObjects(
  session: Session,
  members: Members,
  listsSchemas: boolean,
): Promise<ChosenObjects | undefined> {
  const { schemas, relations, withoutRows, excluded, exclusions } = members;
  if (!listsSchemas && excluded.length === 0 && exclusions.schemas.length === 0) return undefined;
  const objects = await session.query<{ catalog: number; oid: number; type: string | null }>(
    listsSchemas ? NEEDED : NEEDED_BY_NONE,
    [[...relations, ...withoutRows], listsSchemas ? schemas : exclusions.schemas, excluded],
  );
  const all = await session.query<{ catalog: number; oid: number; name: string }>(
    `SELECT 'pg_namespace'::regclass::oid::int8::float8 AS catalog, oid::int8::float8 AS oid, nspname AS name
       FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema' ORDER BY nspname COLLATE "C"`,
  );
  const chosen = {
    hold: listsSchemas ? ('these' as const) : ('others' as const),
    keys: new Set(objects.map(({ catalog, oid }) => objectKey(catalog, oid))),
    types: new Set(objects.flatMap(({ type }) => type ?? [])),
  };
  const unrelated = all.filter(({ catalog, oid }) => !isHeld(chosen, objectKey(catalog, oid)));
  return { ...chosen, unrelated: unrelated.map(({ name }) => name) };
}

/** Whether the definitions hold an object, which {@link objectKey} names. */
export function isHeld({ hold, keys }: Pick<ChosenObjects, 'hold' | 'keys'>, key: string): boolean {
  return keys.has(key) === (hold === 'these');
}

/** The OID of pg_class. The statement that turns row security on has the OID of its table alone. */
const PG_CLASS = 1259;

/** Whether the definitions hold a statement. */
export function holdsStatement(chosen: ChosenObjects, entry: TocEntry): boolean {
  if (entry.kind === 'SET' || entry.isOfDatabase) return true;
  if (entry.kind === 'SHELL TYPE')
    return chosen.types.has(`${entry.schema}.${entry.name}`) === (chosen.hold === 'these');
  // Statements of unknown objects stay: nothing is lost silently.
  return entry.oid === 0 || isHeld(chosen, objectKey(entry.class || PG_CLASS, entry.oid));
}
