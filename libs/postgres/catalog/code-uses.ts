import { COLUMN_TYPES } from './column-types.js';
import { reached } from './ordering.js';
import type { Session } from '../connection/session.js';

/** An expression of a table that calls functions in SQL or a procedural language, which may read other tables. */
export interface CodeUse {
  /** The table's OID. */
  relation: number;
  /** A stored generated column, the partition key of a table above, an index, a check, or a domain's check. */
  kind: 'generated' | 'partition' | 'index' | 'check' | 'domain';
  /** The OID of the index or constraint. */
  id: number;
  /** The generated column's name. */
  column: string | null;
  /** The functions' OIDs. */
  functions: number[];
}

/** SQL, a recursive part of WITH: `parents` has the OIDs of the tables $1 and of all tables that they inherit from. */
export const TABLES_AND_PARENTS = `parents (oid) AS (
       SELECT unnest($1::oid[]) UNION SELECT i.inhparent FROM parents JOIN pg_inherits i ON i.inhrelid = parents.oid)`;

/** Lists the expressions of these tables and of their parents that call functions of users while rows are loaded. */
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

/** Words before a table that a body reads, or before a call that may read one. */
const READING = /\b(from|join|table|execute|perform|call)\b/;

/**
 * Finds the tables that functions may read, by the words of their bodies. It misses names that a body composes at run
 * time, and includes words that only look like names.
 */
export class FunctionBodies {
  private constructor(
    private readonly functions: Map<number, CodeFunction>,
    private readonly byName: Map<string, CodeFunction[]>,
  ) {}

  /** Reads the bodies of all functions that are not PostgreSQL's own. */
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

  /** Whether one of these functions, or a function that they call, may read a table. */
  mayRead(functions: number[]): boolean {
    return this.called(functions).some(
      ({ language, body }) => !['sql', 'plpgsql'].includes(language) || READING.test(body),
    );
  }

  /** Returns those of the tables that the functions, or the functions that they call, may read. */
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

function wordsOf(body: string): string[] {
  return body.match(/[\p{L}_][\p{L}\p{N}_$]*/gu) ?? [];
}
