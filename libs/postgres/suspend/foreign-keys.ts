import { commentOn, displayTable, quoteIdentifier, quoteTable } from '../connection/identifiers.js';
import type { Suspension } from './suspensions.js';
import type { Session } from '../connection/session.js';

/** The tables, and the partitioned tables above them, which hold no rows but keys and triggers. */
export const SCOPE = `(SELECT unnest($1::oid[]) UNION SELECT a.relid FROM unnest($1::oid[]) AS t (oid), pg_partition_ancestors(t.oid) AS a)`;

interface ForeignKey {
  /** The table, by its OID. */
  relation: number;
  schema: string;
  table: string;
  name: string;
  owned: boolean;
  definition: string;
  comment: string | null;
}

/**
 * Foreign keys of the tables and those that point to them, from inside or outside, by their OIDs: the cascades of several
 * keys fire in the order of names that hold the OIDs.
 */
export async function listForeignKeys(session: Session, oids: number[]): Promise<Suspension[]> {
  const rows = await session.query<ForeignKey>(
    // A key of a partitioned table stands once, at the root; those of its partitions follow it.
    `SELECT c.oid::int8::float8 AS relation, n.nspname AS schema, c.relname AS table, k.conname AS name,
            pg_has_role(c.relowner, 'USAGE') AS owned,
            pg_get_constraintdef(k.oid) AS definition, obj_description(k.oid, 'pg_constraint') AS comment
       FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
      WHERE k.contype = 'f' AND k.conparentid = 0 AND (k.conrelid IN ${SCOPE} OR k.confrelid IN ${SCOPE})
      ORDER BY k.oid`,
    [oids],
  );
  return rows.map(({ relation: oid, schema, table: name, name: key, owned, definition, comment }) => {
    const table = { schema, name };
    const relation = quoteTable(table);
    const constraint = quoteIdentifier(key);
    const add = `ALTER TABLE ${relation} ADD CONSTRAINT ${constraint} ${definition}`;
    return {
      what: `the foreign key ${key} of ${displayTable(table)}`,
      table,
      relation,
      owned,
      suspend: `ALTER TABLE ${relation} DROP CONSTRAINT ${constraint}`,
      reinstate: [add, ...commentOn(`CONSTRAINT ${constraint} ON ${relation}`, comment)],
      validates: oid,
      ...(!/ NOT (VALID|ENFORCED)$/.test(definition) && { unvalidated: `${add} NOT VALID` }),
    };
  });
}

/** Unique indexes over the same columns, by their OIDs. */
export interface Rivals {
  /** Those that foreign keys rely on. */
  kept: number[];
  /** Older ones, which the keys would rely on when they are added again. */
  rebuilt: number[];
}

export async function listRivals(session: Session, oids: number[]): Promise<Rivals> {
  const rows = await session.query<{ kept: number; rival: number; isOlder: boolean }>(
    `SELECT DISTINCT used.indexrelid::int8::float8 AS kept, rival.indexrelid::int8::float8 AS rival,
            rival.indexrelid < used.indexrelid AS "isOlder"
       FROM pg_constraint k
       JOIN pg_index used ON used.indexrelid = k.conindid
       JOIN pg_index rival ON rival.indrelid = used.indrelid AND rival.indexrelid <> used.indexrelid
      WHERE k.contype = 'f' AND k.conparentid = 0 AND (k.conrelid IN ${SCOPE} OR k.confrelid IN ${SCOPE})
        AND rival.indisunique AND rival.indimmediate AND rival.indisvalid AND rival.indexprs IS NULL AND rival.indpred IS NULL
        AND rival.indnkeyatts = used.indnkeyatts
        AND (rival.indkey::int2[])[0:rival.indnkeyatts - 1] @> (used.indkey::int2[])[0:used.indnkeyatts - 1]`,
    [oids],
  );
  const kept = new Set(rows.map(({ kept }) => kept));
  const rebuilt = rows.filter(({ rival, isOlder }) => isOlder && !kept.has(rival)).map(({ rival }) => rival);
  return { kept: [...kept], rebuilt: [...new Set(rebuilt)] };
}
