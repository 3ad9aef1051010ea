import { OWN_SCHEMAS, type Scope, schemaPattern, tablePattern } from '#config';
import type { Relation } from '../connection/identifiers.js';
import { OWN_SCHEMA_COMMENT } from '../connection/own-schema.js';
import type { Session } from '../connection/session.js';

/** The relations of a scope in one database at one moment. All queries of the catalog select by these OIDs. */
export interface Members {
  /** The schemas of the scope, sorted. */
  schemas: string[];
  /** Schemas that the scope names, and that the database lacks or that hold snapshotd's own state. */
  missing: string[];
  /** The schemas of snapshotd's own state. */
  own: string[];
  /** OIDs of tables, partitioned tables, sequences, views, materialized views and foreign tables. */
  relations: number[];
  /** OIDs of such relations whose definitions are in the scope, without their contents. */
  withoutRows: number[];
  /** OIDs of relations that patterns exclude. */
  excluded: number[];
  /** The same by name, for people: exclusions are not omissions. */
  exclusions: Exclusions;
}

/** What patterns exclude. */
export interface Exclusions {
  schemas: string[];
  /** Tables, views and sequences of other schemas. */
  tables: Relation[];
  /** Tables and materialized views without their rows. */
  rows: Relation[];
}

/** SQL: true if the relation `c` of pg_class belongs to an extension. */
export const OF_EXTENSION = `EXISTS (SELECT FROM pg_depend d
                         WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')`;

/**
 * SQL: the foreign keys of which the archive lacks the table that they refer to. Extensions make their own tables.
 * $1: the tables of the archive
 */
export const KEYS_TO_OTHERS = `
  SELECT k.oid FROM pg_constraint k JOIN pg_class c ON c.oid = k.confrelid
   WHERE k.contype = 'f' AND NOT EXISTS (SELECT FROM unnest($1::oid[]) AS known (oid) WHERE known.oid = c.oid) AND NOT ${OF_EXTENSION}`;

/**
 * SQL: true if the schema `n` holds snapshotd's own state. It has the table of the migrations of TypeORM or BullMQ, and
 * the comment of {@link makeOwnSchema}, which only the schema's owner can give it. Older versions gave the queue's schema
 * none.
 */
const IS_OWN = `
  (coalesce(obj_description(n.oid, 'pg_namespace') = '${OWN_SCHEMA_COMMENT}', false) OR n.nspname IN ('${Object.values(OWN_SCHEMAS).join("', '")}'))
  AND EXISTS (
    SELECT FROM pg_class c
     WHERE c.relnamespace = n.oid AND c.relkind = 'r' AND c.relname IN ('migrations', 'migration')
       AND (SELECT array_agg(a.attname::text) FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped)
           @> CASE c.relname WHEN 'migrations' THEN '{id,timestamp,name}' ELSE '{version,name}' END::text[])`;

/** SQL: true if the schema `n` is a user's. */
export const IS_USERS = `n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'`;

/**
 * SQL: the tables that draw numbers from a sequence, by owning it or by a default.
 * Dependencies of columns: https://www.postgresql.org/docs/current/catalog-pg-depend.html
 */
const DRAWS = `
  SELECT d.objid AS sequence, d.refobjid AS oid
    FROM pg_depend d JOIN relation ON relation.oid = d.objid AND relation.relkind = 'S'
   WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')
   UNION
  SELECT d.refobjid, a.adrelid
    FROM pg_depend d JOIN relation ON relation.oid = d.refobjid AND relation.relkind = 'S'
    JOIN pg_attrdef a ON a.oid = d.objid
   WHERE d.classid = 'pg_attrdef'::regclass AND d.refclassid = 'pg_class'::regclass`;

/** SQL: the relations of a query for OIDs, and all partitions below them. */
function withPartitions(name: string, query: string): string {
  return `${name} (oid) AS (
    ${query}
     UNION
    SELECT i.inhrelid FROM ${name} JOIN pg_inherits i ON i.inhparent = ${name}.oid
      JOIN relation ON relation.oid = i.inhrelid AND relation.relispartition)`;
}

/**
 * Finds the relations of a scope. Some belong to its tables and are included although they are in other schemas:
 * partitions and inheritance children, sequences that their columns own or draw from, and materialized views over them.
 * A pattern of a partitioned table excludes its partitions; one of a table excludes the sequences that its columns own.
 * No pattern excludes a sequence that an included table draws from: the table's next row would get an old number. If rows
 * are excluded, so are the states of sequences that only such tables draw from.
 */
export async function findMembers(session: Session, scope: Scope): Promise<Members> {
  const schemas = await findSchemas(session, scope);
  const names = (kind: keyof (typeof schemas)[number]) =>
    schemas.filter((one) => one[kind] === true).map(({ name }) => name);
  const [tables, rows] = [scope.excludeTables, scope.excludeTableRows].map((patterns) =>
    patterns.flatMap((pattern) => tablePattern(pattern) ?? []),
  );
  // PostgreSQL knows no sizes of recursive parts, and few of a catalog that grew since its last ANALYZE. It then compares
  // each relation with each other one: 20,000 tables took over seven minutes.
  await session.query('SET enable_nestloop TO off');
  const relations = await session.query<Relation & { oid: number; fate: Fate; kind: string }>(
    FIND_RELATIONS,
    [
      names('inside'),
      names('excluded'),
      names('own'),
      tables?.map(({ schema }) => schema),
      tables?.map(({ name }) => name),
      rows?.map(({ schema }) => schema),
      rows?.map(({ name }) => name),
    ],
  );
  await session.query('RESET enable_nestloop');
  const oids = (...fates: Fate[]) =>
    relations.filter(({ fate }) => fates.includes(fate)).map(({ oid }) => oid);
  const named = (wanted: Fate, without?: string) =>
    relations
      .filter(({ fate, kind }) => fate === wanted && kind !== without)
      .map(({ schema, name }) => ({ schema, name }));
  return {
    schemas: names('inside'),
    missing:
      scope.schemas === '*'
        ? []
        : scope.schemas.filter((name) => !schemas.some((one) => one.name === name && !one.own)),
    own: names('own'),
    relations: oids('whole'),
    withoutRows: oids('without rows'),
    excluded: oids('excluded', 'excluded with its schema', 'excluded with its table'),
    exclusions: {
      schemas: names('excluded'),
      tables: named('excluded'),
      rows: named('without rows', 'S'),
    },
  };
}

type Fate = 'whole' | 'without rows' | 'excluded' | 'excluded with its schema' | 'excluded with its table';

/** A schema of snapshotd, of the scope or excluded. */
interface FoundSchema {
  name: string;
  own: boolean;
  inside: boolean;
  excluded: boolean;
}

/** Lists the schemas of users and of snapshotd. Those that extensions make count only if they hold other objects. */
function findSchemas(session: Session, { schemas, excludeSchemas }: Scope): Promise<FoundSchema[]> {
  return session.query<FoundSchema>(
    `SELECT name, own, NOT own AND asked AND NOT matched AS inside, NOT own AND matched AS excluded
       FROM (SELECT n.nspname AS name, ${IS_OWN} AS own, n.nspname LIKE ANY ($2::text[]) AS matched,
                    CASE WHEN $1::text[] IS NULL
                         THEN NOT EXISTS (SELECT FROM pg_depend d
                                           WHERE d.classid = 'pg_namespace'::regclass AND d.objid = n.oid AND d.deptype = 'e')
                              OR EXISTS (SELECT FROM pg_class c
                                          WHERE c.relnamespace = n.oid AND c.relkind IN ('r', 'p', 'S', 'v', 'm', 'f') AND NOT ${OF_EXTENSION})
                         ELSE n.nspname = ANY ($1) END AS asked
               FROM pg_namespace n WHERE ${IS_USERS}) AS found
      WHERE own OR asked OR matched
      ORDER BY name COLLATE "C"`,
    [schemas === '*' ? null : schemas, excludeSchemas.map(schemaPattern)],
  );
}

/** $1 to $3: schemas of the scope, excluded ones, own ones; $4 to $7: patterns of tables, and of tables without rows. */
const FIND_RELATIONS = `
  WITH RECURSIVE
  relation AS MATERIALIZED (
    SELECT c.oid, c.relkind, c.relispartition, n.nspname, c.relname,
           n.nspname = ANY ($1) AS inside, n.nspname = ANY ($2) AS in_excluded,
           EXISTS (SELECT FROM unnest($4::text[], $5::text[]) AS p (schema, name) WHERE n.nspname LIKE p.schema AND c.relname LIKE p.name) AS matched,
           EXISTS (SELECT FROM unnest($6::text[], $7::text[]) AS p (schema, name) WHERE n.nspname LIKE p.schema AND c.relname LIKE p.name) AS emptied
      FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE c.relkind IN ('r', 'p', 'S', 'v', 'm', 'f') AND ${IS_USERS} AND n.nspname <> ALL ($3) AND NOT ${OF_EXTENSION}),
  draws AS MATERIALIZED (${DRAWS}),
  ${withPartitions('barred', 'SELECT oid FROM relation WHERE matched OR in_excluded')},
  excluded AS MATERIALIZED (
    SELECT oid FROM barred
     UNION
    SELECT d.objid FROM barred
      JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.refobjid = barred.oid AND d.deptype IN ('a', 'i')
      JOIN relation ON relation.oid = d.objid AND relation.relkind = 'S'),
  within (oid) AS (
    SELECT oid FROM relation WHERE inside AND NOT EXISTS (SELECT FROM excluded WHERE excluded.oid = relation.oid)
     UNION
    SELECT i.inhrelid FROM within JOIN pg_inherits i ON i.inhparent = within.oid
      JOIN relation ON relation.oid = i.inhrelid
     WHERE NOT EXISTS (SELECT FROM excluded WHERE excluded.oid = i.inhrelid)),
  reader (oid) AS (
    SELECT oid FROM within
     UNION
    SELECT next.oid
      FROM reader CROSS JOIN LATERAL (
        SELECT w.ev_class AS oid
          FROM pg_depend d JOIN pg_rewrite w ON w.oid = d.objid AND w.ev_type = '1'
         WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = reader.oid AND d.classid = 'pg_rewrite'::regclass
         UNION ALL
        -- A view over a parent reads the rows of its children.
        SELECT inhparent FROM pg_inherits WHERE inhrelid = reader.oid) AS next),
  drawn AS MATERIALIZED (SELECT DISTINCT draws.sequence AS oid FROM draws JOIN within ON within.oid = draws.oid),
  member AS MATERIALIZED (
    SELECT oid FROM within
     UNION
    SELECT oid FROM drawn
     UNION
    SELECT oid FROM reader JOIN relation USING (oid) WHERE relation.relkind = 'm'),
  ${withPartitions('hollow', `SELECT oid FROM relation JOIN member USING (oid) WHERE emptied AND relkind <> 'S'`)},
  idle AS MATERIALIZED (
    SELECT draws.sequence AS oid
      FROM draws LEFT JOIN hollow ON hollow.oid = draws.oid LEFT JOIN excluded ON excluded.oid = draws.oid
     GROUP BY draws.sequence
    HAVING bool_or(hollow.oid IS NOT NULL) AND bool_and(hollow.oid IS NOT NULL OR excluded.oid IS NOT NULL))
  SELECT oid::int8::float8 AS oid, kind, fate,
         -- Names of an SQL_ASCII database may not be valid UTF-8, which checkNamesInUtf8 reports.
         CASE WHEN fate <> 'whole' THEN schema END AS schema, CASE WHEN fate <> 'whole' THEN name END AS name
    FROM (
  SELECT relation.oid, relation.nspname AS schema, relation.relname AS name, relation.relkind AS kind,
         CASE WHEN excluded.oid IS NULL OR drawn.oid IS NOT NULL THEN CASE WHEN hollow.oid IS NULL AND idle.oid IS NULL THEN 'whole' ELSE 'without rows' END
              WHEN barred.oid IS NULL THEN 'excluded with its table'
              WHEN relation.in_excluded THEN 'excluded with its schema' ELSE 'excluded' END AS fate
    FROM relation LEFT JOIN member ON member.oid = relation.oid LEFT JOIN excluded ON excluded.oid = relation.oid
    LEFT JOIN barred ON barred.oid = relation.oid LEFT JOIN drawn ON drawn.oid = relation.oid LEFT JOIN hollow ON hollow.oid = relation.oid
    LEFT JOIN idle ON idle.oid = relation.oid
   WHERE excluded.oid IS NOT NULL OR member.oid IS NOT NULL) AS found
   ORDER BY found.schema COLLATE "C", found.name COLLATE "C"`;
