import { TYPES_OF_COLUMNS } from './column-types.js';
import { displayTable } from '../connection/identifiers.js';
import type { Session } from '../connection/session.js';

/** A condition that every row of a table satisfies, because PostgreSQL has proven it. */
export interface RowCondition {
  /** For people, as the subject of a sentence. */
  what: string;
  /** As PostgreSQL prints it, without the name of a constraint: the same text demands the same. */
  definition: string;
}

interface NamedCondition {
  relation: number;
  kind: 'check' | 'column' | 'bounds' | 'domain check' | 'domain';
  schema: string;
  name: string;
  /** Of the check or the column. */
  part: string | null;
  definition: string;
}

/**
 * Lists the valid checks and NOT NULL of tables and of the domains that their columns are made of, and the bounds of
 * partitions. The bounds of a default partition are the bounds of the other partitions, negated. Unlike
 * pg_get_partition_constraintdef, this locks no table above a partition, and prints no OIDs.
 * @returns those of each table, by its OID
 */
export async function listRowConditions(
  session: Session,
  tables: { oid: number }[],
): Promise<Map<number, RowCondition[]>> {
  const rows = await session.query<NamedCondition & Record<string, unknown>>(
    `WITH RECURSIVE ${TYPES_OF_COLUMNS},
     domains AS (
       SELECT DISTINCT a.attrelid AS relation, t.oid
         FROM types JOIN pg_type t ON t.oid = types.oid AND t.typtype = 'd' JOIN pg_attribute a ON a.atttypid = types.whole
        WHERE a.attrelid = ANY ($1::oid[]) AND a.attnum > 0 AND NOT a.attisdropped),
     levels AS (
       SELECT t.oid AS relation, c.oid, i.inhparent AS parent, pg_get_expr(c.relpartbound, 0) AS bound,
              'PARTITION BY ' || pg_get_partkeydef(i.inhparent) AS key
         FROM unnest($1::oid[]) AS t (oid) CROSS JOIN LATERAL pg_partition_ancestors(t.oid) AS above
         JOIN pg_class c ON c.oid = above.relid AND c.relispartition JOIN pg_inherits i ON i.inhrelid = c.oid),
     conditions AS (
       SELECT k.conrelid AS relation, 'check' AS kind, k.conname AS part,
              format('CHECK (%s)', pg_get_expr(k.conbin, k.conrelid)) AS definition
         FROM pg_constraint k WHERE k.contype = 'c' AND k.convalidated AND k.conrelid = ANY ($1::oid[])
        UNION ALL
       SELECT a.attrelid, 'column', a.attname, format('%I IS NOT NULL', a.attname)
         FROM pg_attribute a
        WHERE a.attrelid = ANY ($1::oid[]) AND a.attnotnull AND a.attnum > 0 AND NOT a.attisdropped
          -- From PostgreSQL 18 on it may never have been validated.
          AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conrelid = a.attrelid AND k.contype = 'n'
                             AND NOT k.convalidated AND k.conkey[1] = a.attnum)
        UNION ALL
       SELECT relation, 'bounds', NULL, format('%s %s', key, bound) FROM levels WHERE bound <> 'DEFAULT'
        UNION ALL
       SELECT l.relation, 'bounds', NULL, format('%s NOT %s', l.key, pg_get_expr(other.relpartbound, 0))
         FROM levels l JOIN pg_inherits i ON i.inhparent = l.parent AND i.inhrelid <> l.oid
         JOIN pg_class other ON other.oid = i.inhrelid
        WHERE l.bound = 'DEFAULT')
     SELECT d.relation::int8::float8 AS relation, d.kind, n.nspname AS schema, c.relname AS name, d.part, d.definition
       FROM conditions d JOIN pg_class c ON c.oid = d.relation JOIN pg_namespace n ON n.oid = c.relnamespace
      UNION ALL
     SELECT domains.relation::int8::float8, d.kind, n.nspname, t.typname, d.part,
            format('%s %s', format_type(t.oid, NULL), d.definition)
       FROM domains JOIN pg_type t ON t.oid = domains.oid JOIN pg_namespace n ON n.oid = t.typnamespace
       CROSS JOIN LATERAL (
         SELECT 'domain check', k.conname, format('CHECK (%s)', pg_get_expr(k.conbin, 0))
           FROM pg_constraint k WHERE k.contypid = t.oid AND k.contype = 'c' AND k.convalidated
          UNION ALL
         SELECT 'domain', NULL, 'NOT NULL' WHERE t.typnotnull) AS d (kind, part, definition)
      ORDER BY schema, name, kind, part, definition`,
    [tables.map(({ oid }) => oid)],
  );
  const conditions = new Map(tables.map(({ oid }) => [oid, [] as RowCondition[]]));
  for (const row of rows)
    conditions.get(row.relation)?.push({ what: described(row), definition: row.definition });
  return conditions;
}

function described({ kind, part, ...relation }: NamedCondition): string {
  const name = displayTable(relation);
  switch (kind) {
    case 'check':
      return `The check ${part} of ${name}`;
    case 'column':
      return `NOT NULL of ${name}.${part}`;
    case 'bounds':
      return `The bound of ${name}`;
    case 'domain check':
      return `The check ${part} of the domain ${name}`;
    case 'domain':
      return `NOT NULL of the domain ${name}`;
  }
}
