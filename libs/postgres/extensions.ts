import type { Session } from './session.js';
import type { Table } from './tables.js';

export interface Extension {
  name: string;
  version: string;
}

/** The extensions whose types the tables' columns have, also inside arrays and domains. */
export function listExtensions(session: Session, tables: Table[]): Promise<Extension[]> {
  return session.query<{ name: string; version: string }>(
    `SELECT DISTINCT e.extname AS name, e.extversion AS version
       FROM pg_attribute a
       JOIN pg_type t ON t.oid = a.atttypid
       JOIN pg_depend d ON d.classid = 'pg_type'::regclass AND d.objid IN (t.oid, t.typelem, t.typbasetype)
                       AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
       JOIN pg_extension e ON e.oid = d.refobjid
      WHERE a.attrelid = ANY ($1::oid[]) AND a.attnum > 0 AND NOT a.attisdropped
      ORDER BY name`,
    [tables.map(({ oid }) => oid)],
  );
}
