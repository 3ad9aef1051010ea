import type { Session } from '../connection/session.js';

/** A column of a live table. */
export interface ColumnOf {
  /** The table's OID. */
  relation: number;
  name: string;
}

/** SQL, in a query for columns `a` of pg_attribute: whether the column or a domain that it is made of is NOT NULL. */
const NOT_NULL = `(a.attnotnull OR EXISTS (
       WITH RECURSIVE chain (oid) AS (
         SELECT a.atttypid UNION SELECT t.typbasetype FROM chain JOIN pg_type t ON t.oid = chain.oid WHERE t.typtype = 'd')
       SELECT FROM chain JOIN pg_type t ON t.oid = chain.oid WHERE t.typnotnull))`;

/** Lists the columns of these tables that every new row must name: NOT NULL ones that nothing fills. */
export function listWithoutDefault(session: Session, tables: { relation: number }[]): Promise<ColumnOf[]> {
  return session.query<ColumnOf & Record<string, unknown>>(
    `SELECT a.attrelid::int8::float8 AS relation, a.attname AS name
       FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
      WHERE a.attrelid = ANY ($1::oid[]) AND a.attnum > 0 AND NOT a.attisdropped
        AND NOT a.atthasdef AND a.attidentity = '' AND t.typdefault IS NULL AND ${NOT_NULL}`,
    [tables.map(({ relation }) => relation)],
  );
}

/** The value that a column gets in rows that do not name it. */
export interface ColumnDefault extends ColumnOf {
  /** Whether it counts: an identity, or an integer from a sequence. */
  counts: boolean;
  /** As SQL; null for an identity. */
  expression: string | null;
}

/** Lists the defaults of these columns, without generated ones. Names in the expressions are qualified. */
export function listDefaults(session: Session, columns: ColumnOf[]): Promise<ColumnDefault[]> {
  return session.query<ColumnDefault & Record<string, unknown>>(
    `SELECT a.attrelid::int8::float8 AS relation, a.attname AS name, pg_get_expr(d.adbin, d.adrelid) AS expression,
            a.attidentity <> '' OR a.atttypid IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype) AND EXISTS (
              SELECT FROM pg_depend s JOIN pg_class c ON c.oid = s.refobjid AND c.relkind = 'S'
               WHERE s.classid = 'pg_attrdef'::regclass AND s.objid = d.oid AND s.refclassid = 'pg_class'::regclass) AS counts
       FROM unnest($1::oid[], $2::text[]) AS wanted (relation, name)
       JOIN pg_attribute a ON a.attrelid = wanted.relation AND a.attname = wanted.name
       LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
      WHERE a.attgenerated = '' AND (d.oid IS NOT NULL OR a.attidentity <> '')`,
    [columns.map(({ relation }) => relation), columns.map(({ name }) => name)],
  );
}
