import type { Relation } from '../connection/identifiers.js';
import type { Session } from '../connection/session.js';

/** The properties of a column beyond its type. */
export interface ColumnDetails {
  name: string;
  /** If it is not the default of the column's type. */
  collation: Relation | null;
  /** The default as SQL; null without one. */
  default: string | null;
  /** The expression of a generated column as SQL. */
  generation: string | null;
  /** Whether a generated column is computed when it is read. */
  virtual: boolean;
  identity: 'ALWAYS' | 'BY DEFAULT' | null;
  /** Whether the default is the next value of the sequence that belongs to the column. */
  counts: boolean;
  comment: string | null;
}

/** A primary key or a unique constraint. */
export interface KeyDetails {
  name: string;
  primary: boolean;
  columns: string[];
  include: string[];
  nullsNotDistinct: boolean;
  deferrable: boolean;
  deferred: boolean;
  comment: string | null;
}

/** An index over columns, without expressions and conditions. */
export interface IndexDetails {
  name: string;
  unique: boolean;
  nullsNotDistinct: boolean;
  /** The access method. */
  method: string;
  columns: {
    name: string;
    /** If it is not that of the column. */
    collation: Relation | null;
    /** If it is not the default of the type. */
    operatorClass: Relation | null;
    descending: boolean;
    nullsFirst: boolean;
  }[];
  include: string[];
  comment: string | null;
}

/** The facts of a table from which it can be created, besides its columns' names and types. */
export interface TableDetails {
  comment: string | null;
  columns: ColumnDetails[];
  keys: KeyDetails[];
  checks: { name: string; expression: string; comment: string | null }[];
  indexes: IndexDetails[];
  /** Other objects of the table, for messages: "foreign key child_parent_fkey". */
  others: string[];
}

/** SQL: a relation as JSON. */
const named = (schema: string, name: string) => `json_build_object('schema', ${schema}, 'name', ${name})`;
const COLLATION = (oid: string) =>
  `(SELECT ${named('ln.nspname', 'l.collname')} FROM pg_collation l JOIN pg_namespace ln ON ln.oid = l.collnamespace WHERE l.oid = ${oid})`;
/** SQL: the names of the columns of the index `x` in these positions. */
const INDEX_COLUMNS = (positions: string) =>
  `coalesce((SELECT json_agg(a.attname ORDER BY place.n) FROM unnest(x.indkey::int2[]) WITH ORDINALITY AS place (attnum, n)
              JOIN pg_attribute a ON a.attrelid = x.indrelid AND a.attnum = place.attnum WHERE ${positions}), '[]')`;
/** SQL: values of columns that older servers lack. If the catalog of a subquery has such a column, its name means that. */
const OLDER = '(SELECT false AS indnullsnotdistinct, false AS conperiod) AS older';
/** SQL: joins the comment `e` of an object. */
const COMMENT = (catalog: string, oid: string, column = '0') =>
  `LEFT JOIN pg_description e ON e.classoid = '${catalog}'::regclass AND e.objoid = ${oid} AND e.objsubid = ${column}`;
const aggregate = (query: string) => `coalesce((SELECT json_agg(found) FROM (${query}) AS found), '[]')`;

/** Reads the details of tables from the catalog, by OID. */
export async function listTableDetails(
  session: Session,
  tables: { oid: number }[],
): Promise<Map<number, TableDetails>> {
  const rows = await session.query<TableDetails & { oid: number }>(
    `SELECT c.oid::int8::float8 AS oid, obj_description(c.oid, 'pg_class') AS comment,
            ${aggregate(`
              SELECT a.attname AS name, CASE WHEN a.attcollation <> t.typcollation THEN ${COLLATION('a.attcollation')} END AS collation,
                     CASE WHEN a.attgenerated = '' THEN d.expression END AS default, CASE WHEN a.attgenerated <> '' THEN d.expression END AS generation, a.attgenerated = 'v' AS virtual,
                     CASE a.attidentity WHEN 'a' THEN 'ALWAYS' WHEN 'd' THEN 'BY DEFAULT' END AS identity,
                     coalesce((SELECT d.expression = format('nextval(%L::regclass)', s.objid::regclass)
                                 FROM pg_depend s WHERE s.classid = 'pg_class'::regclass AND s.refclassid = 'pg_class'::regclass
                                  AND d.expression LIKE 'nextval(%' AND s.refobjid = c.oid AND s.refobjsubid = a.attnum AND s.deptype = 'a' LIMIT 1), false) AS counts,
                     e.description AS comment
                FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
                LEFT JOIN LATERAL (SELECT pg_get_expr(adbin, adrelid) AS expression FROM pg_attrdef
                                    WHERE adrelid = a.attrelid AND adnum = a.attnum OFFSET 0) AS d ON a.atthasdef
                ${COMMENT('pg_class', 'c.oid', 'a.attnum')}
               WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
                 AND (a.atthasdef OR a.attidentity <> '' OR a.attcollation <> t.typcollation OR e.description IS NOT NULL)
               ORDER BY a.attnum`)} AS columns,
            ${aggregate(`
              SELECT k.conname AS name, k.contype = 'p' AS primary, ${INDEX_COLUMNS('place.n <= x.indnkeyatts')} AS columns,
                     ${INDEX_COLUMNS('place.n > x.indnkeyatts')} AS include, indnullsnotdistinct AS "nullsNotDistinct",
                     k.condeferrable AS deferrable, k.condeferred AS deferred, e.description AS comment
                FROM pg_constraint k JOIN pg_index x ON x.indexrelid = k.conindid ${COMMENT('pg_constraint', 'k.oid')}
               WHERE k.conrelid = c.oid AND k.contype IN ('p', 'u') AND NOT conperiod
               ORDER BY k.oid`)} AS keys,
            ${aggregate(`
              SELECT k.conname AS name, pg_get_expr(k.conbin, k.conrelid) AS expression, e.description AS comment
                FROM pg_constraint k ${COMMENT('pg_constraint', 'k.oid')} WHERE k.conrelid = c.oid AND k.contype = 'c' AND k.convalidated ORDER BY k.oid`)} AS checks,
            ${aggregate(`
              SELECT i.relname AS name, x.indisunique AS unique, indnullsnotdistinct AS "nullsNotDistinct", m.amname AS method,
                     (SELECT json_agg(json_build_object('name', a.attname,
                               'collation', CASE WHEN x.indcollation[place.n - 1] NOT IN (0, a.attcollation) THEN ${COLLATION('x.indcollation[place.n - 1]')} END,
                               'operatorClass', CASE WHEN NOT o.opcdefault THEN ${named('os.nspname', 'o.opcname')} END,
                               'descending', x.indoption[place.n - 1]::int & 1 = 1, 'nullsFirst', x.indoption[place.n - 1]::int & 2 = 2) ORDER BY place.n)
                        FROM unnest(x.indkey::int2[]) WITH ORDINALITY AS place (attnum, n)
                        JOIN pg_attribute a ON a.attrelid = x.indrelid AND a.attnum = place.attnum
                        JOIN pg_opclass o ON o.oid = x.indclass[place.n - 1] JOIN pg_namespace os ON os.oid = o.opcnamespace
                       WHERE place.n <= x.indnkeyatts) AS columns,
                     ${INDEX_COLUMNS('place.n > x.indnkeyatts')} AS include, e.description AS comment
                FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_am m ON m.oid = i.relam ${COMMENT('pg_class', 'i.oid')}
               WHERE x.indrelid = c.oid AND x.indisvalid AND x.indexprs IS NULL AND x.indpred IS NULL
                 AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conrelid = x.indrelid AND k.conindid = i.oid AND k.contype IN ('p', 'u', 'x'))
               ORDER BY i.oid`)} AS indexes,
            ARRAY(SELECT 'foreign key ' || k.conname FROM pg_constraint k WHERE k.conrelid = c.oid AND k.contype = 'f'
                  UNION ALL SELECT 'exclusion constraint ' || k.conname FROM pg_constraint k WHERE k.conrelid = c.oid AND k.contype = 'x'
                  UNION ALL SELECT 'key ' || k.conname FROM pg_constraint k WHERE k.conrelid = c.oid AND conperiod AND k.contype IN ('p', 'u')
                  UNION ALL SELECT 'index ' || i.relname FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid WHERE x.indrelid = c.oid AND x.indisvalid AND (x.indexprs IS NOT NULL OR x.indpred IS NOT NULL)
                  UNION ALL SELECT 'trigger ' || t.tgname FROM pg_trigger t WHERE t.tgrelid = c.oid AND NOT t.tgisinternal
                  UNION ALL SELECT 'rule ' || r.rulename FROM pg_rewrite r WHERE r.ev_class = c.oid
                  UNION ALL SELECT 'policy ' || p.polname FROM pg_policy p WHERE p.polrelid = c.oid) AS others
       FROM pg_class c CROSS JOIN ${OLDER} WHERE c.oid = ANY ($1::oid[])`,
    [tables.map(({ oid }) => oid)],
  );
  return new Map(rows.map(({ oid, ...details }) => [oid, details]));
}
