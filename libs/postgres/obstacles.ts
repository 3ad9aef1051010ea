import { commentOn, displayTable, quoteIdentifier, quoteTable } from './identifiers.js';
import { listRebuiltIndexes } from './index-obstacles.js';
import type { Session } from './session.js';
import type { Table } from './tables.js';

/** Something that must be out of the way while tables are loaded, and that comes back exactly as it was. */
export interface Obstacle {
  /** For messages: "the foreign key node_parent_id_fkey of repository.node". */
  what: string;
  /** The table that the statements alter; a domain's check alters none. */
  table?: { schema: string; name: string };
  /** What must be owned, as SQL names it. */
  relation: string;
  owned: boolean;
  remove: string;
  putBack: string[];
  /** The table whose rows are checked when it is put back, by its OID. */
  validates?: number;
}

/**
 * Foreign keys of the tables and those that point to them, from inside or outside; the tables' triggers;
 * forced row security; checks that were never validated, which old rows may break; and indexes of large tables. In
 * the order in which they must be put back, which is the reverse of the order to remove them in.
 * @param large those of the tables that get so many rows that their indexes are better made anew
 */
export async function listObstacles(session: Session, tables: Table[], large: Table[]): Promise<Obstacle[]> {
  const oids = tables.map(({ oid }) => oid);
  return [
    ...(await listForcedRowSecurity(session, oids)),
    ...(await listTriggers(session, oids)),
    ...(await listUnvalidatedChecks(session, oids)),
    ...(await listUnvalidatedDomainChecks(session, oids)),
    ...(await listRebuiltIndexes(session, large)),
    ...(await listForeignKeys(session, oids)),
  ];
}

/** The tables, and the partitioned tables above them, which hold no rows but keys and triggers. */
const SCOPE = `(SELECT unnest($1::oid[]) UNION SELECT a.relid FROM unnest($1::oid[]) AS t (oid), pg_partition_ancestors(t.oid) AS a)`;

/** A constraint of a table, as the catalogue gives it back. */
interface TableConstraint {
  oid: number;
  schema: string;
  table: string;
  name: string;
  owned: boolean;
  definition: string;
  comment: string | null;
}

const TABLE_CONSTRAINT = `
  SELECT c.oid::int8::float8 AS oid, n.nspname AS schema, c.relname AS table, k.conname AS name,
         pg_has_role(c.relowner, 'USAGE') AS owned, pg_get_constraintdef(k.oid) AS definition, obj_description(k.oid, 'pg_constraint') AS comment
    FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace`;

/** By their OIDs: the cascades of several keys fire in the order of names that hold the OIDs. */
async function listForeignKeys(session: Session, oids: number[]): Promise<Obstacle[]> {
  const rows = await session.query<TableConstraint>(
    // A key of a partitioned table stands once, at the root; those of its partitions follow it.
    `${TABLE_CONSTRAINT}
      WHERE k.contype = 'f' AND k.conparentid = 0 AND (k.conrelid IN ${SCOPE} OR k.confrelid IN ${SCOPE})
      ORDER BY k.oid`,
    [oids],
  );
  return rows.map((row) => ({ ...constraintObstacle('foreign key', row), validates: row.oid }));
}

/**
 * Checks, and from PostgreSQL 18 on NOT NULL, that were added NOT VALID: they refuse the very rows that they
 * had spared. A check that is inherited goes and comes with its parent's; where a table has it by itself too,
 * it must be there before its parent's, which then merges with it.
 */
async function listUnvalidatedChecks(session: Session, oids: number[]): Promise<Obstacle[]> {
  const rows = await session.query<TableConstraint>(
    `${TABLE_CONSTRAINT}
      WHERE k.contype IN ('c', 'n') AND NOT k.convalidated AND k.conislocal AND k.conrelid IN ${SCOPE}
      ORDER BY k.coninhcount DESC, k.oid`,
    [oids],
  );
  return rows.map((row) => constraintObstacle('check', row));
}

function constraintObstacle(
  kind: string,
  { schema, table: tableName, name, owned, definition, comment }: TableConstraint,
): Obstacle {
  const table = { schema, name: tableName };
  const relation = quoteTable(table);
  const constraint = quoteIdentifier(name);
  return {
    what: `the ${kind} ${name} of ${displayTable(table)}`,
    table,
    relation,
    owned,
    remove: `ALTER TABLE ${relation} DROP CONSTRAINT ${constraint}`,
    putBack: [
      `ALTER TABLE ${relation} ADD CONSTRAINT ${constraint} ${definition}`,
      ...commentOn(`CONSTRAINT ${constraint} ON ${relation}`, comment),
    ],
  };
}

/** pg_trigger.tgenabled: https://www.postgresql.org/docs/current/catalog-pg-trigger.html */
const ENABLE: Record<string, string> = { O: 'ENABLE', A: 'ENABLE ALWAYS', R: 'ENABLE REPLICA' };

async function listTriggers(session: Session, oids: number[]): Promise<Obstacle[]> {
  const rows = await session.query<{
    schema: string;
    table: string;
    name: string;
    owned: boolean;
    enabled: string;
  }>(
    // Before PostgreSQL 15 a partition's clone of a trigger counts as internal, and only a superuser may disable it.
    `SELECT n.nspname AS schema, c.relname AS table, t.tgname AS name,
            pg_has_role(c.relowner, 'USAGE') AND (NOT t.tgisinternal OR current_setting('is_superuser') = 'on') AS owned,
            t.tgenabled AS enabled
       FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
      WHERE t.tgrelid IN ${SCOPE} AND t.tgenabled <> 'D'
        AND (NOT t.tgisinternal
             OR t.tgparentid <> 0 AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.oid = t.tgconstraint AND k.contype <> 't'))
      ORDER BY t.oid`,
    [oids],
  );
  return rows.map(({ schema, table: name, name: trigger, owned, enabled }) => {
    const table = { schema, name };
    // ONLY, because each partition's trigger has a state of its own, which is saved by itself.
    const alter = `ALTER TABLE ONLY ${quoteTable(table)}`;
    return {
      what: `the trigger ${trigger} of ${displayTable(table)}`,
      table,
      relation: quoteTable(table),
      owned,
      remove: `${alter} DISABLE TRIGGER ${quoteIdentifier(trigger)}`,
      putBack: [`${alter} ${ENABLE[enabled] ?? 'ENABLE'} TRIGGER ${quoteIdentifier(trigger)}`],
    };
  });
}

async function listForcedRowSecurity(session: Session, oids: number[]): Promise<Obstacle[]> {
  const rows = await session.query<{ schema: string; name: string; owned: boolean }>(
    `SELECT n.nspname AS schema, c.relname AS name, pg_has_role(c.relowner, 'USAGE') AS owned
       FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
      WHERE c.oid = ANY ($1::oid[]) AND c.relforcerowsecurity`,
    [oids],
  );
  return rows.map(({ owned, ...table }) => ({
    what: `the forced row security of ${displayTable(table)}`,
    table,
    relation: quoteTable(table),
    owned,
    remove: `ALTER TABLE ONLY ${quoteTable(table)} NO FORCE ROW LEVEL SECURITY`,
    putBack: [`ALTER TABLE ONLY ${quoteTable(table)} FORCE ROW LEVEL SECURITY`],
  }));
}

/** Checks that were never validated of the domains that the tables' columns are made of, through arrays, composites and ranges. */
async function listUnvalidatedDomainChecks(session: Session, oids: number[]): Promise<Obstacle[]> {
  const rows = await session.query<{
    schema: string;
    name: string;
    check: string;
    owned: boolean;
    definition: string;
    comment: string | null;
  }>(
    `WITH RECURSIVE used (oid) AS (
       SELECT atttypid FROM pg_attribute WHERE attrelid = ANY ($1::oid[]) AND attnum > 0 AND NOT attisdropped
       UNION
       SELECT part.oid
         FROM used JOIN pg_type t ON t.oid = used.oid
         CROSS JOIN LATERAL (
           SELECT t.typelem UNION ALL SELECT t.typbasetype
           UNION ALL SELECT a.atttypid FROM pg_attribute a
                      WHERE a.attrelid = t.typrelid AND t.typrelid <> 0 AND a.attnum > 0 AND NOT a.attisdropped
           UNION ALL SELECT r.rngsubtype FROM pg_range r WHERE t.oid IN (r.rngtypid, r.rngmultitypid)
         ) AS part (oid)
        WHERE part.oid <> 0)
     SELECT n.nspname AS schema, t.typname AS name, k.conname AS check, pg_has_role(t.typowner, 'USAGE') AS owned,
            pg_get_constraintdef(k.oid) AS definition, obj_description(k.oid, 'pg_constraint') AS comment
       FROM pg_constraint k JOIN pg_type t ON t.oid = k.contypid JOIN pg_namespace n ON n.oid = t.typnamespace
      WHERE NOT k.convalidated AND t.oid IN (SELECT oid FROM used)
      ORDER BY k.oid`,
    [oids],
  );
  return rows.map(({ schema, name, check, owned, definition, comment }) => {
    const domain = quoteTable({ schema, name });
    const constraint = quoteIdentifier(check);
    return {
      what: `the check ${check} of the domain ${displayTable({ schema, name })}`,
      relation: domain,
      owned,
      remove: `ALTER DOMAIN ${domain} DROP CONSTRAINT ${constraint}`,
      putBack: [
        `ALTER DOMAIN ${domain} ADD CONSTRAINT ${constraint} ${definition}`,
        ...commentOn(`CONSTRAINT ${constraint} ON DOMAIN ${domain}`, comment),
      ],
    };
  });
}
