import type { Session } from '../connection/session.js';

/** What the text of a value means where its type is not one of PostgreSQL's own. */
export interface TypeDefinition {
  /** As format_type shows it, with an empty search_path: "s.address". */
  type: string;
  kind: 'composite' | 'domain' | 'enum' | 'range' | 'multirange';
  /** A composite's attributes in their order; otherwise the one type that it is made of. */
  parts: TypePart[];
  /** An enum's, in their order. */
  labels: string[];
}

export interface TypePart {
  /** A composite's attribute; what else it is is said by the type's kind. */
  name: string;
  type: string;
  /** Where it is not the part's own: as SQL names it. */
  collation: string | null;
  /** What else makes a range: its operator class and the function that brings it into its canonical form. */
  with: string[];
}

/** SQL: the types of all columns of the tables $1. */
const COLUMNS =
  'SELECT atttypid FROM pg_attribute WHERE attrelid = ANY ($1::oid[]) AND attnum > 0 AND NOT attisdropped';

/** SQL: `used` has the OIDs of these types and of all that they are made of, through arrays, domains, composites and ranges. */
export const usedTypes = (types = COLUMNS) => `used (oid) AS (
       ${types}
       UNION
       SELECT part.oid
         FROM used JOIN pg_type t ON t.oid = used.oid
         CROSS JOIN LATERAL (
           SELECT t.typelem UNION ALL SELECT t.typbasetype
           UNION ALL SELECT a.atttypid FROM pg_attribute a
                      WHERE a.attrelid = t.typrelid AND t.typrelid <> 0 AND a.attnum > 0 AND NOT a.attisdropped
           UNION ALL SELECT r.rngsubtype FROM pg_range r WHERE r.rngtypid = t.oid
           UNION ALL SELECT r.rngtypid FROM pg_range r WHERE r.rngmultitypid = t.oid
         ) AS part (oid)
        WHERE part.oid <> 0)`;

/** SQL: a part, and the collation if it is another one than that of its type. */
function part(name: string, type: string, modifier: string, collation: string, options = 'ARRAY[]::text[]') {
  return `json_build_object('name', ${name}, 'type', format_type(${type}, ${modifier}), 'with', ${options}, 'collation',
            CASE WHEN ${collation} <> (SELECT typcollation FROM pg_type WHERE pg_type.oid = ${type}) THEN ${collation}::regcollation::text END)`;
}

/**
 * The definitions of all types that the tables' columns are made of, but for those that PostgreSQL and extensions bring as
 * a whole, which have no parts. Checks of domains are not among them: whether rows hold them shows when they are loaded.
 */
export function listColumnTypes(session: Session, tables: { oid: number }[]): Promise<TypeDefinition[]> {
  return session.query<TypeDefinition & Record<string, unknown>>(
    `WITH RECURSIVE ${usedTypes()}
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
      WHERE t.oid IN (SELECT oid FROM used) AND t.typtype IN ('c', 'd', 'e', 'r', 'm')
        AND (t.typnamespace <> 'pg_catalog'::regnamespace OR t.typtype = 'c')
      ORDER BY format_type(t.oid, NULL) COLLATE "C"`,
    [tables.map(({ oid }) => oid)],
  );
}
