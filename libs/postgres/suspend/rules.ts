import { quoteIdentifier } from '../connection/identifiers.js';
import type { Session } from '../connection/session.js';
import { ENABLE, ofTable, type Suspension, type TableObject } from './suspension.js';

/** Lists the rules of tables that would change or replace an INSERT. COPY runs none. */
export async function listInsertRules(
  session: Session,
  tables: { relation: number }[],
): Promise<Suspension[]> {
  const rows = await session.query<TableObject & { enabled: string }>(
    `SELECT n.nspname AS schema, c.relname AS table, r.rulename AS name, pg_has_role(c.relowner, 'USAGE') AS owned,
            r.ev_enabled AS enabled
       FROM pg_rewrite r JOIN pg_class c ON c.oid = r.ev_class JOIN pg_namespace n ON n.oid = c.relnamespace
      WHERE r.ev_class = ANY ($1::oid[]) AND r.ev_type = '3' AND r.ev_enabled <> 'D'
      ORDER BY r.oid`,
    [tables.map(({ relation }) => relation)],
  );
  return rows.map(({ enabled, ...rule }) => {
    const facts = ofTable('rule', rule);
    const alter = `ALTER TABLE ${facts.relation}`;
    const name = quoteIdentifier(rule.name);
    return {
      ...facts,
      suspend: `${alter} DISABLE RULE ${name}`,
      reinstate: [`${alter} ${ENABLE[enabled] ?? 'ENABLE'} RULE ${name}`],
    };
  });
}
