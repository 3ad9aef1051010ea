import { quoteTable } from './identifiers.js';
import type { Session } from './session.js';
import type { Table } from './tables.js';
import { type TrustedPath, underPath } from './trusted-path.js';

export interface MaterializedView {
  oid: number;
  schema: string;
  name: string;
}

/**
 * The repository's materialized views that show rows of these tables, directly or through other views, each
 * after those that it reads. One that was never populated is none of them.
 */
export async function listMaterializedViews(
  session: Session,
  schemas: string[],
  tables: Table[],
): Promise<MaterializedView[]> {
  return session.query<MaterializedView>(
    `WITH RECURSIVE above (oid) AS (
       SELECT unnest($2::oid[]) UNION SELECT i.inhparent FROM above JOIN pg_inherits i ON i.inhrelid = above.oid
     ), shown (oid, depth) AS (
       SELECT oid, 0 FROM above
       UNION
       SELECT r.ev_class, shown.depth + 1
         FROM shown
         JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = shown.oid AND d.classid = 'pg_rewrite'::regclass
         JOIN pg_rewrite r ON r.oid = d.objid AND r.ev_class <> shown.oid
     )
     SELECT c.oid::int8::float8 AS oid, n.nspname AS schema, c.relname AS name
       FROM shown JOIN pg_class c ON c.oid = shown.oid JOIN pg_namespace n ON n.oid = c.relnamespace
      WHERE c.relkind = 'm' AND c.relispopulated AND n.nspname = ANY ($1)
      GROUP BY n.nspname, c.relname, c.oid ORDER BY max(shown.depth), c.oid`,
    [schemas, tables.map(({ oid }) => oid)],
  );
}

/** Fills them again from what the transaction has put into their tables. */
export async function refreshMaterializedViews(
  session: Session,
  views: MaterializedView[],
  paths: Map<number, TrustedPath>,
): Promise<void> {
  for (const view of views)
    await underPath(session, paths.get(view.oid), () =>
      session.query(`REFRESH MATERIALIZED VIEW ${quoteTable(view)}`),
    );
}
