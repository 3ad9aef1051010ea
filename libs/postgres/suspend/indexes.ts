import { commentOn, quoteIdentifier, quoteLiteral, quoteTable } from '../connection/identifiers.js';
import type { Session } from '../connection/session.js';
import type { Rivals } from './foreign-keys.js';
import { type DefinedObject, ofTable, type Suspension, type TableObject } from './suspension.js';

interface Index extends DefinedObject {
  oid: number;
  /** The primary key or unique constraint that the index is of. */
  constraint: { name: string; kind: 'PRIMARY KEY' | 'UNIQUE'; timing: string; comment: string | null } | null;
  tablespace: string;
  clustered: boolean;
  /** The statistics targets of expression columns. */
  statistics: { column: number; target: number }[];
}

/**
 * Lists the indexes of tables, including primary keys, that can be rebuilt exactly: after a large load that is faster
 * than maintaining them during it. These are kept:
 * - indexes of exclusion constraints, and those that replica identity or a partitioned index relies on;
 * - indexes that any object but a foreign key depends on, such as a view that groups by a primary key;
 * - indexes that call functions, except PostgreSQL's own, those in C and those that set search_path: CREATE INDEX would
 *   have to parse the definition under one path and run the function under another;
 * - all indexes if the role may not create indexes.
 * Suspend foreign keys that point to these tables first. Of equal unique indexes a key relies on the oldest: so an index
 * that a key relies on is kept, and the older ones are rebuilt, even on a small table.
 * pg_get_indexdef omits the constraint, comment, tablespace, CLUSTER mark and statistics targets.
 */
export async function listRebuiltIndexes(
  session: Session,
  tables: { oid: number }[],
  { kept, rebuilt }: Rivals,
): Promise<Suspension[]> {
  const rows = await session.query<Index>(
    `SELECT i.oid::int8::float8 AS oid, n.nspname AS schema, c.relname AS table, i.relname AS name, pg_has_role(c.relowner, 'USAGE') AS owned,
            pg_get_indexdef(i.oid) AS definition, obj_description(i.oid, 'pg_class') AS comment,
            CASE WHEN k.oid IS NOT NULL THEN json_build_object(
              'name', k.conname, 'kind', CASE k.contype WHEN 'p' THEN 'PRIMARY KEY' ELSE 'UNIQUE' END,
              'timing', CASE WHEN k.condeferred THEN 'DEFERRABLE INITIALLY DEFERRED' WHEN k.condeferrable THEN 'DEFERRABLE' ELSE '' END,
              'comment', obj_description(k.oid, 'pg_constraint')) END AS constraint,
            coalesce(s.spcname, '') AS tablespace, x.indisclustered AS clustered,
            coalesce((SELECT json_agg(json_build_object('column', a.attnum, 'target', a.attstattarget))
                        FROM pg_attribute a WHERE a.attrelid = i.oid AND a.attstattarget >= 0), '[]') AS statistics
       FROM pg_index x
       JOIN pg_class i ON i.oid = x.indexrelid
       JOIN pg_class c ON c.oid = x.indrelid
       JOIN pg_namespace n ON n.oid = c.relnamespace
       LEFT JOIN pg_tablespace s ON s.oid = i.reltablespace
       LEFT JOIN pg_constraint k ON k.conindid = i.oid AND k.conrelid = c.oid AND k.contype IN ('p', 'u')
      WHERE (x.indrelid = ANY ($1::oid[]) AND i.oid <> ALL ($2::oid[]) OR i.oid = ANY ($3::oid[])) AND i.relkind = 'i' AND x.indisvalid AND x.indisready AND x.indislive
        AND NOT x.indisexclusion AND NOT x.indisreplident
        AND NOT EXISTS (SELECT FROM pg_inherits h WHERE h.inhrelid = i.oid)
        AND NOT EXISTS (SELECT FROM pg_depend d
                         WHERE (d.refclassid = 'pg_class'::regclass AND d.refobjid = i.oid
                                OR d.refclassid = 'pg_constraint'::regclass AND d.refobjid = k.oid)
                           AND d.deptype <> 'i'
                           AND NOT (d.classid = 'pg_constraint'::regclass
                                    AND EXISTS (SELECT FROM pg_constraint f WHERE f.oid = d.objid AND f.contype = 'f')))
        AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = i.oid
                           AND d.refclassid = 'pg_extension'::regclass)
        AND NOT EXISTS (
          SELECT FROM pg_depend d
            LEFT JOIN pg_operator o ON d.refclassid = 'pg_operator'::regclass AND o.oid = d.refobjid
            LEFT JOIN pg_opclass class ON d.refclassid = 'pg_opclass'::regclass AND class.oid = d.refobjid
            LEFT JOIN pg_amproc support ON support.amprocfamily = class.opcfamily
            LEFT JOIN pg_type domain ON d.refclassid = 'pg_type'::regclass AND domain.oid = d.refobjid AND domain.typtype = 'd'
            LEFT JOIN pg_proc p ON p.oid IN (o.oprcode, support.amproc) OR d.refclassid = 'pg_proc'::regclass AND p.oid = d.refobjid
            LEFT JOIN pg_language l ON l.oid = p.prolang
           WHERE d.classid = 'pg_class'::regclass AND d.objid = i.oid
             AND (domain.oid IS NOT NULL OR l.lanname NOT IN ('internal', 'c')
                  AND NOT EXISTS (SELECT FROM unnest(p.proconfig) AS setting WHERE setting LIKE 'search\\_path=%')))
        AND has_schema_privilege(n.oid, 'CREATE')
        AND (s.oid IS NULL OR has_tablespace_privilege(s.oid, 'CREATE'))
      ORDER BY i.oid`,
    [tables.map(({ oid }) => oid), kept, rebuilt],
  );
  return rows.map(suspendedIndex);
}

function suspendedIndex(index: Index): Suspension {
  const facts = ofTable('index', index);
  const { relation } = facts;
  const name = quoteTable(index);
  const constraint = index.constraint && {
    ...index.constraint,
    name: quoteIdentifier(index.constraint.name),
  };
  return {
    ...facts,
    index: index.oid,
    suspend: constraint ? `ALTER TABLE ${relation} DROP CONSTRAINT ${constraint.name}` : `DROP INDEX ${name}`,
    reinstate: [
      `SET LOCAL default_tablespace = ${quoteLiteral(index.tablespace)}`,
      index.definition,
      ...(constraint
        ? [
            `ALTER TABLE ${relation} ADD CONSTRAINT ${constraint.name} ${constraint.kind} USING INDEX ${quoteIdentifier(index.name)} ${constraint.timing}`,
            ...commentOn(`CONSTRAINT ${constraint.name} ON ${relation}`, constraint.comment),
          ]
        : []),
      ...index.statistics.map(
        ({ column, target }) => `ALTER INDEX ${name} ALTER COLUMN ${column} SET STATISTICS ${target}`,
      ),
      ...(index.clustered ? [`ALTER TABLE ${relation} CLUSTER ON ${quoteIdentifier(index.name)}`] : []),
      ...commentOn(`INDEX ${name}`, index.comment),
    ],
  };
}

/**
 * Lists invalid indexes, which a failed CREATE INDEX CONCURRENTLY or REINDEX CONCURRENTLY leaves. TRUNCATE makes them
 * valid, and unique ones would then refuse the rows for which they failed.
 */
export async function listInvalidIndexes(session: Session, oids: number[]): Promise<Suspension[]> {
  const rows = await session.query<TableObject & { oid: number }>(
    `SELECT i.oid::int8::float8 AS oid, n.nspname AS schema, c.relname AS table, i.relname AS name,
            pg_has_role(c.relowner, 'USAGE') AS owned
       FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid
       JOIN pg_class c ON c.oid = x.indrelid JOIN pg_namespace n ON n.oid = c.relnamespace
      WHERE x.indrelid = ANY ($1::oid[]) AND NOT (x.indisvalid AND x.indisready)
        AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = i.oid)
      ORDER BY i.oid`,
    [oids],
  );
  return rows.map((index) => ({
    ...ofTable('index', index),
    index: index.oid,
    suspend: `DROP INDEX ${quoteTable(index)}`,
    reinstate: [],
    lost: 'it was invalid before the restore; create it again, or remove it from the schema definitions',
  }));
}
