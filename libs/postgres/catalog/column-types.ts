import type { Session } from '../connection/session.js';

/** The definition of a type that is not PostgreSQL's own: it decides what a value's text means. */
export interface TypeDefinition {
  /** As format_type shows it, with an empty search_path: "s.address". */
  type: string;
  kind: 'composite' | 'domain' | 'enum' | 'range' | 'multirange';
  /** A composite's attributes in their order; otherwise the one type that this type is made of. */
  parts: TypePart[];
  /** An enum's labels in their order. */
  labels: string[];
}

export interface TypePart {
  /** The name of a composite's attribute; for other kinds the part's role, such as "subtype". */
  name: string;
  type: string;
  /** The quoted collation, if it is not the default of the part's type. */
  collation: string | null;
  /** A range's operator class and canonical function. */
  with: string[];
}

/**
 * SQL, a recursive part of WITH: `types` has the OIDs of the types of columns and of the types that they are made of,
 * through arrays, domains, composites and ranges.
 * @param columns a query for what the types belong to, and for the types
 * @param whole the name of the former
 */
const typesOf = (columns: string, whole = 'relation') => `types (${whole}, oid) AS (
       ${columns}
       UNION
       SELECT types.${whole}, part.oid
         FROM types JOIN pg_type t ON t.oid = types.oid
         CROSS JOIN LATERAL (
           SELECT t.typelem UNION ALL SELECT t.typbasetype
           UNION ALL SELECT a.atttypid FROM pg_attribute a
                      WHERE a.attrelid = t.typrelid AND t.typrelid <> 0 AND a.attnum > 0 AND NOT a.attisdropped
           UNION ALL SELECT r.rngsubtype FROM pg_range r WHERE r.rngtypid = t.oid
           UNION ALL SELECT r.rngtypid FROM pg_range r WHERE r.rngmultitypid = t.oid
         ) AS part (oid)
        WHERE part.oid <> 0)`;
const COLUMNS = 'FROM pg_attribute WHERE attrelid = ANY ($1::oid[]) AND attnum > 0 AND NOT attisdropped';
/** The types of all columns of the tables $1, without their relations. */
const ALL_TYPES = typesOf(`SELECT NULL::oid, atttypid ${COLUMNS}`);
/** SQL, a recursive part of WITH: the types of each of the tables $1, as `types (relation, oid)`. */
export const COLUMN_TYPES = typesOf(`SELECT attrelid, atttypid ${COLUMNS}`);
/**
 * SQL, a recursive part of WITH: the columns' types of the tables $1, each with those that it is made of, as
 * `types (whole, oid)`. Many columns share few types.
 */
export const TYPES_OF_COLUMNS = typesOf(`SELECT DISTINCT atttypid, atttypid ${COLUMNS}`, 'whole');

/** SQL: a {@link TypePart} as JSON. */
function part(name: string, type: string, modifier: string, collation: string, options = 'ARRAY[]::text[]') {
  return `json_build_object('name', ${name}, 'type', format_type(${type}, ${modifier}), 'with', ${options}, 'collation',
            CASE WHEN ${collation} <> (SELECT typcollation FROM pg_type WHERE pg_type.oid = ${type}) THEN ${collation}::regcollation::text END)`;
}

/**
 * Lists the definitions of all types that the tables' columns are made of. Omits base types of PostgreSQL and extensions,
 * which have no parts. Omits the checks of domains: the load shows whether rows satisfy them.
 */
export function listColumnTypes(session: Session, tables: { oid: number }[]): Promise<TypeDefinition[]> {
  return session.query<TypeDefinition & Record<string, unknown>>(definitionsOf(ALL_TYPES), [
    tables.map(({ oid }) => oid),
  ]);
}

/** Lists the definitions of types that are given as SQL, and of those that they are made of. Omits unknown ones. */
export function listTypes(session: Session, types: string[]): Promise<TypeDefinition[]> {
  const named = typesOf('SELECT NULL::oid, to_regtype(name)::oid FROM unnest($1::text[]) AS name');
  return session.query<TypeDefinition & Record<string, unknown>>(definitionsOf(named), [types]);
}

/** SQL: the definitions of types. @param types a recursive part of WITH */
function definitionsOf(types: string): string {
  return `WITH RECURSIVE ${types}
     SELECT format_type(t.oid, NULL) AS type,
            CASE t.typtype WHEN 'c' THEN 'composite' WHEN 'd' THEN 'domain' WHEN 'e' THEN 'enum' WHEN 'r' THEN 'range' ELSE 'multirange' END AS kind,
            coalesce(CASE t.typtype
              WHEN 'c' THEN (SELECT json_agg(${part('a.attname', 'a.atttypid', 'a.atttypmod', 'a.attcollation')} ORDER BY a.attnum)
                               FROM pg_attribute a WHERE a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped)
              WHEN 'd' THEN json_build_array(${part("'base type'", 't.typbasetype', 't.typtypmod', 't.typcollation')})
              WHEN 'r' THEN (SELECT json_build_array(${part("'subtype'", 'r.rngsubtype', 'NULL', 'r.rngcollation', "ARRAY[format('%I.%I', n.nspname, o.opcname), r.rngcanonical::text]")})
                               FROM pg_range r JOIN pg_opclass o ON o.oid = r.rngsubopc JOIN pg_namespace n ON n.oid = o.opcnamespace WHERE r.rngtypid = t.oid)
              WHEN 'm' THEN (SELECT json_build_array(${part("'range'", 'r.rngtypid', 'NULL', '0')}) FROM pg_range r WHERE r.rngmultitypid = t.oid)
            END, '[]') AS parts,
            ARRAY(SELECT enumlabel::text FROM pg_enum WHERE enumtypid = t.oid ORDER BY enumsortorder) AS labels
       FROM pg_type t
      WHERE t.oid IN (SELECT oid FROM types) AND t.typtype IN ('c', 'd', 'e', 'r', 'm')
        AND (t.typnamespace <> 'pg_catalog'::regnamespace OR t.typtype = 'c')
      ORDER BY format_type(t.oid, NULL) COLLATE "C"`;
}

export interface Extension {
  name: string;
  version: string;
}

/** Lists the extensions whose types the tables' columns are made of, also inside arrays, domains, composites and ranges. */
export function listExtensions(session: Session, tables: { oid: number }[]): Promise<Extension[]> {
  return session.query<Extension>(
    `WITH RECURSIVE ${ALL_TYPES}
     SELECT DISTINCT e.extname AS name, e.extversion AS version
       FROM types
       JOIN pg_depend d ON d.classid = 'pg_type'::regclass AND d.objid = types.oid
                       AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
       JOIN pg_extension e ON e.oid = d.refobjid
      ORDER BY name`,
    [tables.map(({ oid }) => oid)],
  );
}

/** Columns that a warning names. */
const NAMED = 10;

/**
 * Warns of columns of the types regproc and regoper. PostgreSQL writes their values without the arguments, and refuses to
 * read a name that means several functions or operators. Similar types, such as regprocedure and regclass, are exact.
 */
export async function warnOfAmbiguousNames(session: Session, tables: { oid: number }[]): Promise<string[]> {
  const columns = await session.query<{ name: string }>(
    `WITH RECURSIVE ${TYPES_OF_COLUMNS}
     SELECT format('%s.%s.%s', n.nspname, c.relname, a.attname) AS name
       FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
      WHERE c.oid = ANY ($1::oid[]) AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
        AND a.atttypid IN (SELECT whole FROM types WHERE oid IN ('regproc'::regtype, 'regoper'::regtype))
      ORDER BY name`,
    [tables.map(({ oid }) => oid)],
  );
  if (columns.length === 0) return [];
  const more = columns.length > NAMED ? ` and ${columns.length - NAMED} more` : '';
  const names = columns.slice(0, NAMED).map(({ name }) => name);
  return [
    `A restore may fail: values of ${names.join(', ')}${more} have the type regproc or regoper, which PostgreSQL cannot read back if functions or operators share their name. Use regprocedure or regoperator.`,
  ];
}
