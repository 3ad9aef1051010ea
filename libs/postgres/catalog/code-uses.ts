import { reached } from './ordering.js';
import type { Session } from '../connection/session.js';

/** Something of a table that calls functions in SQL or a procedural language, which may read other tables. */
export interface CodeUse {
  /** The table, by its OID. */
  relation: number;
  /** What calls them: a stored generated column, the partition key above, an index, a check, or a domain's check. */
  kind: 'generated' | 'partition' | 'index' | 'check' | 'domain';
  /** The index or the constraint, by its OID. */
  id: number;
  /** The generated column. */
  column: string | null;
  /** By their OIDs. */
  functions: number[];
}

/** Types that a table's columns are made of, through arrays, composites, domains and ranges. A query's recursive part. */
export const COLUMN_TYPES = `types (relation, oid) AS (
       SELECT attrelid, atttypid FROM pg_attribute WHERE attrelid = ANY ($1::oid[]) AND attnum > 0 AND NOT attisdropped
       UNION
       SELECT types.relation, part.oid
         FROM types JOIN pg_type t ON t.oid = types.oid
         CROSS JOIN LATERAL (
           SELECT t.typelem UNION ALL SELECT t.typbasetype
           UNION ALL SELECT a.atttypid FROM pg_attribute a
                      WHERE a.attrelid = t.typrelid AND t.typrelid <> 0 AND a.attnum > 0 AND NOT a.attisdropped
           UNION ALL SELECT r.rngsubtype FROM pg_range r WHERE t.oid IN (r.rngtypid, r.rngmultitypid)
         ) AS part (oid)
        WHERE part.oid <> 0)`;

/** The tables and all that they inherit from. A query's recursive part. */
export const TABLES_AND_PARENTS = `parents (oid) AS (
       SELECT unnest($1::oid[]) UNION SELECT i.inhparent FROM parents JOIN pg_inherits i ON i.inhrelid = parents.oid)`;

/** Lists what of these tables, and of the tables that they inherit from, calls functions of users while rows are loaded. */
export function listCodeUses(session: Session, tables: { oid: number }[]): Promise<CodeUse[]> {
  return session.query<CodeUse>(
    `WITH RECURSIVE ${COLUMN_TYPES}, ${TABLES_AND_PARENTS},
     objects (relation, kind, class, id, sub, "column") AS (
       SELECT a.attrelid, 'generated', object.class, object.id, object.sub, a.attname::text
         FROM pg_attribute a JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
         CROSS JOIN LATERAL (VALUES ('pg_attrdef'::regclass, d.oid, 0), ('pg_class'::regclass, a.attrelid, a.attnum::int)) AS object (class, id, sub)
        WHERE a.attrelid = ANY ($1::oid[]) AND a.attgenerated = 's'
       UNION ALL
       SELECT t.oid, 'partition', 'pg_class'::regclass, above.relid, 0, NULL
         FROM unnest($1::oid[]) AS t (oid), pg_partition_ancestors(t.oid) AS above WHERE above.relid <> t.oid
       UNION ALL
       SELECT indrelid, 'index', 'pg_class'::regclass, indexrelid, 0, NULL FROM pg_index WHERE indrelid = ANY ($1::oid[])
       UNION ALL
       SELECT conrelid, 'check', 'pg_constraint'::regclass, k.oid, 0, NULL
         FROM pg_constraint k WHERE contype = 'c' AND conrelid IN (SELECT oid FROM parents)
       UNION ALL
       SELECT types.relation, 'domain', 'pg_constraint'::regclass, k.oid, 0, NULL FROM types JOIN pg_constraint k ON k.contypid = types.oid)
     SELECT o.relation::int8::float8 AS relation, o.kind, o.id::int8::float8 AS id, o."column",
            array_agg(DISTINCT p.oid::int8::float8) AS functions
       FROM objects o
       JOIN pg_depend d ON d.classid = o.class AND d.objid = o.id AND d.objsubid = o.sub
       CROSS JOIN LATERAL (
         SELECT d.refobjid WHERE d.refclassid = 'pg_proc'::regclass
         UNION ALL SELECT oprcode FROM pg_operator WHERE d.refclassid = 'pg_operator'::regclass AND oid = d.refobjid
         UNION ALL SELECT s.amproc FROM pg_opclass c JOIN pg_amproc s ON s.amprocfamily = c.opcfamily
                    WHERE d.refclassid = 'pg_opclass'::regclass AND c.oid = d.refobjid
         UNION ALL SELECT p.oprcode FROM pg_opclass c JOIN pg_amop m ON m.amopfamily = c.opcfamily JOIN pg_operator p ON p.oid = m.amopopr
                    WHERE d.refclassid = 'pg_opclass'::regclass AND c.oid = d.refobjid
         UNION ALL SELECT inner_d.refobjid FROM pg_constraint k
                     JOIN pg_depend inner_d ON inner_d.classid = 'pg_constraint'::regclass AND inner_d.objid = k.oid AND inner_d.refclassid = 'pg_proc'::regclass
                    WHERE d.refclassid = 'pg_type'::regclass AND k.contypid = d.refobjid
       ) AS called (oid)
       JOIN pg_proc p ON p.oid = called.oid
       JOIN pg_language l ON l.oid = p.prolang
      WHERE l.lanname NOT IN ('internal', 'c') AND p.pronamespace <> 'pg_catalog'::regnamespace
      GROUP BY o.relation, o.kind, o.id, o."column"`,
    [tables.map(({ oid }) => oid)],
  );
}

interface CodeFunction {
  oid: number;
  name: string;
  language: string;
  body: string;
}

/** Words after which a body reads something, or runs a text that may. */
const READING = /\b(from|join|table|execute|perform|call)\b/;

/**
 * What functions may read, as far as their bodies tell: a name that a body puts together at run time is not found, and a
 * word that only looks like a name is.
 */
export class FunctionBodies {
  private constructor(
    private readonly functions: Map<number, CodeFunction>,
    private readonly byName: Map<string, CodeFunction[]>,
  ) {}

  static async read(session: Session): Promise<FunctionBodies> {
    const rows = await session.query<CodeFunction>(
      `SELECT p.oid::int8::float8 AS oid, p.proname AS name, l.lanname AS language,
              lower(coalesce(pg_get_function_sqlbody(p.oid), p.prosrc)) AS body
         FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang JOIN pg_namespace n ON n.oid = p.pronamespace
        WHERE l.lanname NOT IN ('internal', 'c') AND n.nspname NOT IN ('pg_catalog', 'information_schema')`,
    );
    const byName = new Map<string, CodeFunction[]>();
    for (const row of rows) byName.set(row.name, [...(byName.get(row.name) ?? []), row]);
    return new FunctionBodies(new Map(rows.map((row) => [row.oid, row])), byName);
  }

  /** Whether one of these functions, or of those that they call, may read a table. */
  mayRead(functions: number[]): boolean {
    return this.called(functions).some(
      ({ language, body }) => !['sql', 'plpgsql'].includes(language) || READING.test(body),
    );
  }

  /** Those of these tables that the functions, or those that they call, may read. */
  tablesRead<Table extends { name: string }>(functions: number[], tables: Table[]): Table[] {
    const bodies = this.called(functions).filter(({ body }) => READING.test(body));
    const words = new Set(bodies.flatMap(({ body }) => wordsOf(body)));
    const isNamed = (name: string) =>
      words.has(name) ||
      bodies.some(({ body }) => body.includes(`"${name.toLowerCase().replaceAll('"', '""')}"`));
    return bodies.length === 0 ? [] : tables.filter(({ name }) => isNamed(name));
  }

  private called(functions: number[]): CodeFunction[] {
    const first = functions.flatMap((oid) => this.functions.get(oid) ?? []);
    return [...reached(first, ({ body }) => wordsOf(body).flatMap((word) => this.byName.get(word) ?? []))];
  }
}

/** Those of these uses whose functions may read tables. */
export async function usesThatRead(session: Session, uses: CodeUse[]): Promise<CodeUse[]> {
  if (uses.length === 0) return [];
  const bodies = await FunctionBodies.read(session);
  return uses.filter(({ functions }) => bodies.mayRead(functions));
}

function wordsOf(body: string): string[] {
  return body.match(/[\p{L}_][\p{L}\p{N}_$]*/gu) ?? [];
}
