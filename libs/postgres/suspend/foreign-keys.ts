import { TABLES_AND_ROOTS } from '../catalog/tables.js';
import { commentOn, quoteIdentifier } from '../connection/identifiers.js';
import type { Session } from '../connection/session.js';
import { type DefinedObject, ofTable, type Suspension } from './suspension.js';

interface ForeignKey extends DefinedObject {
  /** The table's OID. */
  oid: number;
}

/**
 * Lists the foreign keys of the tables and those that point to them from any table, by OID: the cascades of several keys
 * fire in the order of trigger names that contain OIDs.
 */
export async function listForeignKeys(session: Session, oids: number[]): Promise<Suspension[]> {
  const rows = await session.query<ForeignKey>(
    // A partitioned table's key is listed once, at the root; those of its partitions follow it.
    `SELECT c.oid::int8::float8 AS oid, n.nspname AS schema, c.relname AS table, k.conname AS name,
            pg_has_role(c.relowner, 'USAGE') AS owned,
            pg_get_constraintdef(k.oid) AS definition, obj_description(k.oid, 'pg_constraint') AS comment
       FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
      WHERE k.contype = 'f' AND k.conparentid = 0 AND (k.conrelid IN ${TABLES_AND_ROOTS} OR k.confrelid IN ${TABLES_AND_ROOTS})
      ORDER BY k.oid`,
    [oids],
  );
  return rows.map((key) => {
    const { oid, definition, comment } = key;
    const facts = ofTable('foreign key', key);
    const { relation } = facts;
    const constraint = quoteIdentifier(key.name);
    const add = `ALTER TABLE ${relation} ADD CONSTRAINT ${constraint} ${definition}`;
    return {
      ...facts,
      suspend: `ALTER TABLE ${relation} DROP CONSTRAINT ${constraint}`,
      reinstate: [add, ...commentOn(`CONSTRAINT ${constraint} ON ${relation}`, comment)],
      validates: oid,
      ...(!/ NOT (VALID|ENFORCED)$/.test(definition) && { unvalidated: `${add} NOT VALID` }),
    };
  });
}

/** The OIDs of unique indexes over the same columns. */
export interface Rivals {
  /** Indexes that foreign keys rely on. */
  kept: number[];
  /** Older indexes, on which keys would rely when they are added again. */
  rebuilt: number[];
}

/** Lists unique indexes over the columns that foreign keys refer to. PostgreSQL lets a key rely on the oldest of them. */
export async function listRivals(session: Session, oids: number[]): Promise<Rivals> {
  const rows = await session.query<{ kept: number; rival: number; isOlder: boolean }>(
    `SELECT DISTINCT used.indexrelid::int8::float8 AS kept, rival.indexrelid::int8::float8 AS rival,
            rival.indexrelid < used.indexrelid AS "isOlder"
       FROM pg_constraint k
       JOIN pg_index used ON used.indexrelid = k.conindid
       JOIN pg_index rival ON rival.indrelid = used.indrelid AND rival.indexrelid <> used.indexrelid
      WHERE k.contype = 'f' AND k.conparentid = 0 AND (k.conrelid IN ${TABLES_AND_ROOTS} OR k.confrelid IN ${TABLES_AND_ROOTS})
        AND rival.indisunique AND rival.indimmediate AND rival.indisvalid AND rival.indexprs IS NULL AND rival.indpred IS NULL
        AND rival.indnkeyatts = used.indnkeyatts
        AND (rival.indkey::int2[])[0:rival.indnkeyatts - 1] @> (used.indkey::int2[])[0:used.indnkeyatts - 1]`,
    [oids],
  );
  const kept = new Set(rows.map((row) => row.kept));
  const rebuilt = rows.filter(({ rival, isOlder }) => isOlder && !kept.has(rival)).map(({ rival }) => rival);
  return { kept: [...kept], rebuilt: [...new Set(rebuilt)] };
}
