import { listChecks, listDomainChecks } from './checks.js';
import type { CodeUse } from '../catalog/code-uses.js';
import { displayTable, quoteIdentifier, quoteTable } from '../connection/identifiers.js';
import { listInvalidIndexes, listRebuiltIndexes } from './indexes.js';
import { listForeignKeys, listRivals, SCOPE } from './foreign-keys.js';
import type { Session } from '../connection/session.js';
import type { Table } from '../catalog/tables.js';

/** Something that must be out of the way while tables are loaded, and that comes back exactly as it was. */
export interface Suspension {
  /** For messages: "the foreign key node_parent_id_fkey of repository.node". */
  what: string;
  /** The table that the statements alter; a domain's check alters none. */
  table?: { schema: string; name: string };
  /** What must be owned, as SQL names it. */
  relation: string;
  owned: boolean;
  suspend: string;
  reinstate: string[];
  /** The table whose rows are checked when it is put back, by its OID. */
  validates?: number;
  /** How it comes back if its rows violate it and the restore may keep them. */
  unvalidated?: string;
  /** A check that comes back unvalidated, because it may read any table: the statement that validates it in the end. */
  validate?: { statement: string; /** The table whose path it runs under, by its OID. */ under: number };
  /** The index, by its OID. */
  index?: number;
  /** Why it is not put back. */
  lost?: string;
}

export interface SuspensionOptions {
  /** Those of the tables that get so many rows that their indexes are better made anew. */
  large: Table[];
  /** What of the tables calls functions of users. */
  uses: CodeUse[];
  /** Whether rows may violate checks and keys, which then come back unvalidated. */
  keepViolations: boolean;
  /** Whether they need not come back, because all will be rolled back. */
  forGood: boolean;
}

/**
 * Foreign keys of the tables and those that point to them, from inside or outside; the tables' triggers; forced row
 * security; checks that rows may break while they are loaded; indexes that are not valid; and indexes of large tables. In
 * the order in which they must be put back, which is the reverse of the order to remove them in.
 */
export async function listSuspensions(
  session: Session,
  tables: Table[],
  { large, uses, keepViolations, forGood }: SuspensionOptions,
): Promise<Suspension[]> {
  const oids = tables.map(({ oid }) => oid);
  const checks = { uses, all: keepViolations, forGood };
  return [
    ...(await listForcedRowSecurity(session, oids)),
    ...(await listTriggers(session, oids)),
    ...(await listChecks(session, oids, checks)),
    ...(await listDomainChecks(session, oids, checks)),
    ...(await listInvalidIndexes(session, oids)),
    ...(await listRebuiltIndexes(session, large, await listRivals(session, oids))),
    ...(await listForeignKeys(session, oids)),
  ];
}

/** pg_trigger.tgenabled: https://www.postgresql.org/docs/current/catalog-pg-trigger.html */
export const ENABLE: Record<string, string> = { O: 'ENABLE', A: 'ENABLE ALWAYS', R: 'ENABLE REPLICA' };

async function listTriggers(session: Session, oids: number[]): Promise<Suspension[]> {
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
      suspend: `${alter} DISABLE TRIGGER ${quoteIdentifier(trigger)}`,
      reinstate: [`${alter} ${ENABLE[enabled] ?? 'ENABLE'} TRIGGER ${quoteIdentifier(trigger)}`],
    };
  });
}

async function listForcedRowSecurity(session: Session, oids: number[]): Promise<Suspension[]> {
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
    suspend: `ALTER TABLE ONLY ${quoteTable(table)} NO FORCE ROW LEVEL SECURITY`,
    reinstate: [`ALTER TABLE ONLY ${quoteTable(table)} FORCE ROW LEVEL SECURITY`],
  }));
}
