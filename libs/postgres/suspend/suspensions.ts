import { listChecks, listDomainChecks } from './checks.js';
import type { CodeUse } from '../catalog/code-uses.js';
import { displayTable, quoteIdentifier, quoteTable, type Relation } from '../connection/identifiers.js';
import { listInvalidIndexes, listRebuiltIndexes } from './indexes.js';
import { listForeignKeys, listRivals } from './foreign-keys.js';
import type { Session } from '../connection/session.js';
import { TABLES_AND_ROOTS, type Table } from '../catalog/tables.js';
import { ENABLE, ofTable, type Suspension, type TableObject } from './suspension.js';

export interface SuspensionOptions {
  /** The tables that get enough rows for rebuilding their indexes to be faster. */
  large: Table[];
  /** The expressions of the tables that call functions of users. */
  uses: CodeUse[];
  /** Whether rows may violate checks and keys, which are then reinstated unvalidated. */
  keepViolations: boolean;
}

/**
 * Lists what to suspend while tables are loaded: forced row security, triggers, checks that rows may violate during the
 * load, invalid indexes, indexes of large tables, foreign keys of the tables and foreign keys that point to them. They
 * are in the order in which to reinstate them; suspend them in reverse.
 */
export async function listSuspensions(
  session: Session,
  tables: Table[],
  { large, uses, keepViolations }: SuspensionOptions,
): Promise<Suspension[]> {
  const oids = tables.map(({ oid }) => oid);
  const checks = { uses, all: keepViolations };
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

async function listTriggers(session: Session, oids: number[]): Promise<Suspension[]> {
  const rows = await session.query<TableObject & { enabled: string }>(
    // Before PostgreSQL 15 a partition's clone of a trigger counts as internal, and only a superuser may disable it.
    `SELECT n.nspname AS schema, c.relname AS table, t.tgname AS name,
            pg_has_role(c.relowner, 'USAGE') AND (NOT t.tgisinternal OR current_setting('is_superuser') = 'on') AS owned,
            t.tgenabled AS enabled
       FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
      WHERE t.tgrelid IN ${TABLES_AND_ROOTS} AND t.tgenabled <> 'D'
        AND (NOT t.tgisinternal
             OR t.tgparentid <> 0 AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.oid = t.tgconstraint AND k.contype <> 't'))
      ORDER BY t.oid`,
    [oids],
  );
  return rows.map(({ enabled, ...trigger }) => {
    const facts = ofTable('trigger', trigger);
    // ONLY, because each partition's trigger has a separate state, which is saved separately.
    const alter = `ALTER TABLE ONLY ${facts.relation}`;
    const name = quoteIdentifier(trigger.name);
    return {
      ...facts,
      suspend: `${alter} DISABLE TRIGGER ${name}`,
      reinstate: [`${alter} ${ENABLE[enabled] ?? 'ENABLE'} TRIGGER ${name}`],
    };
  });
}

async function listForcedRowSecurity(session: Session, oids: number[]): Promise<Suspension[]> {
  const rows = await session.query<Relation & { owned: boolean }>(
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
