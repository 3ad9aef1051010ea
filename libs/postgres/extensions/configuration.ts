import { COLUMNS, BY_NAME, type Table } from '../catalog/tables.js';
import { displayTable, quoteIdentifier, quoteTable } from '../connection/identifiers.js';
import type { Omission } from '../catalog/omission.js';
import type { Session } from '../connection/session.js';
import { listPlannable } from '../trust/plannable-tables.js';

/** A table of an extension whose rows CREATE EXTENSION does not make, or not all of them. */
export interface ConfigurationTable extends Table {
  extension: string;
  /** Follows the table's name in a query for those rows; empty if all rows are users'. */
  condition: string;
  /** Why a backup does not hold its rows. */
  obstacle: string | undefined;
  /** Why a restore may not replace its rows, with the statement to run. */
  closed: string | undefined;
}

interface Row extends Omit<ConfigurationTable, 'obstacle' | 'closed'> {
  role: string;
  owner: string;
  readable: boolean;
  hidden: boolean;
  lost: boolean;
  changeable: boolean;
  hasDeleteRule: boolean;
}

/**
 * Lists the tables that the database's extensions mark as their configuration, such as PostGIS's spatial_ref_sys, sorted
 * by name. Extensions serve all schemas. If a table has a condition, only a query reads its rows: see
 * {@link listPlannable}.
 * https://www.postgresql.org/docs/current/extend-extensions.html#EXTEND-EXTENSIONS-CONFIG-TABLES
 */
export async function listConfigurationTables(session: Session): Promise<ConfigurationTable[]> {
  const rows = await session.query<Row>(
    `SELECT c.oid::int8::float8 AS oid, n.nspname AS schema, c.relname AS name, e.extname AS extension,
            coalesce(marked.condition, '') AS condition, pg_get_userbyid(c.relowner)::text AS owner, current_user AS role,
            has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT') IS TRUE AS readable,
            row_security_active(c.oid) AS hidden, c.relpersistence = 'u' AND pg_is_in_recovery() AS lost,
            has_table_privilege(c.oid, 'INSERT') AND has_table_privilege(c.oid, 'DELETE') AS changeable,
            EXISTS (SELECT FROM pg_rewrite w WHERE w.ev_class = c.oid AND w.ev_type = '4') AS "hasDeleteRule",
            pg_relation_size(c.oid)::float8 AS bytes, 0 AS "estimatedRows", '[]'::json AS "partitionOf", ${COLUMNS} AS columns
       FROM pg_extension e CROSS JOIN unnest(e.extconfig, e.extcondition) AS marked (oid, condition)
       JOIN pg_class c ON c.oid = marked.oid JOIN pg_namespace n ON n.oid = c.relnamespace
      WHERE c.relkind = 'r' ${BY_NAME}`,
  );
  const plannable = await listPlannable(
    session,
    rows.filter(({ condition }) => condition !== ''),
  );
  return rows.map(({ role, owner, readable, hidden, lost, changeable, hasDeleteRule, ...table }) => {
    const to = `TO ${quoteIdentifier(role)};`;
    const [name, schema] = [quoteTable(table), quoteIdentifier(table.schema)];
    const bypass = `row security may hide rows from the role ${role}. Have a superuser run: ALTER ROLE ${quoteIdentifier(role)} BYPASSRLS;`;
    const obstacle = lost
      ? 'unlogged: a standby does not hold its contents; back up from the primary to keep them'
      : !readable
        ? `the role ${role} may not read it. Run: GRANT USAGE ON SCHEMA ${schema} ${to} GRANT SELECT ON ${name} ${to}`
        : hidden
          ? bypass
          : table.condition !== '' && !plannable.has(table.oid)
            ? `only a query reads the rows that its condition names, and a query could run code of ${owner} with the rights of ${role}`
            : undefined;
    const closed =
      !readable || !changeable
        ? `Run: GRANT USAGE ON SCHEMA ${schema} ${to} GRANT SELECT, INSERT, DELETE ON ${name} ${to}`
        : hidden
          ? bypass
          : hasDeleteRule
            ? 'It has a rule for DELETE. Drop the rule first.'
            : undefined;
    return { ...table, obstacle, closed };
  });
}

/** The omission of a table whose rows cannot be read. An empty table loses nothing. */
export function omittedConfiguration(table: ConfigurationTable): Omission[] {
  const { extension, obstacle, bytes } = table;
  if (obstacle === undefined || bytes === 0) return [];
  return [
    {
      kind: 'extensionRows',
      count: 1,
      what: `rows of ${displayTable(table)}`,
      why: `configuration of the extension ${extension}, and ${obstacle}`,
    },
  ];
}

/**
 * Makes room for the rows of an archive: deletes those that the condition names.
 * The condition is that of the live table, never of an archive.
 */
export async function deleteConfiguration(session: Session, table: ConfigurationTable): Promise<void> {
  await session.query(`DELETE FROM ONLY ${quoteTable(table)} WHERE ctid IN (${marked(table)})`);
}

function marked(table: ConfigurationTable): string {
  return `SELECT ctid FROM ONLY ${quoteTable(table)} ${table.condition}`;
}
