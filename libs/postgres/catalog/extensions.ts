import { usedTypes } from './column-types.js';
import type { Session } from '../connection/session.js';
import type { Table } from './tables.js';

export interface Extension {
  name: string;
  version: string;
}

/** The extensions whose types the tables' columns are made of, also inside arrays, domains, composites and ranges. */
export function listExtensions(session: Session, tables: Table[]): Promise<Extension[]> {
  return session.query<{ name: string; version: string }>(
    `WITH RECURSIVE ${usedTypes()}
     SELECT DISTINCT e.extname AS name, e.extversion AS version
       FROM used
       JOIN pg_depend d ON d.classid = 'pg_type'::regclass AND d.objid = used.oid
                       AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
       JOIN pg_extension e ON e.oid = d.refobjid
      ORDER BY name`,
    [tables.map(({ oid }) => oid)],
  );
}
