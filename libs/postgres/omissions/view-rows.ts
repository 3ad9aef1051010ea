import { readViews } from '../catalog/materialized-views.js';
import { IS_USERS, type Members, OF_EXTENSION } from '../catalog/members.js';
import type { Omission } from '../catalog/omission.js';
import { reached } from '../catalog/ordering.js';
import { BY_NAME } from '../catalog/tables.js';
import { displayTable, quoteTable, type Relation } from '../connection/identifiers.js';
import type { Session } from '../connection/session.js';

/** Tables that one omission names. */
const NAMED = 10;

/**
 * Lists the populated materialized views among the members that read tables whose rows the archive lacks: a recovered
 * database fills them without these rows. Functions that read tables are not known.
 */
export async function listViewRows(session: Session, { relations }: Members): Promise<Omission[]> {
  const members = new Set(relations);
  const { ordered, below } = await readViews(session);
  const views = ordered
    .filter(({ oid, isMaterialized, isPopulated }) => isMaterialized && isPopulated && members.has(oid))
    .map((view) => ({ ...view, reads: reached([view.oid], below) }));
  const omitted = await session.query<Relation & { oid: number }>(
    `SELECT c.oid::int8::float8 AS oid, n.nspname AS schema, c.relname AS name
       FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
      WHERE c.oid = ANY ($1::oid[]) AND c.relkind = 'r' AND ${IS_USERS} AND NOT ${OF_EXTENSION} ${BY_NAME}`,
    [[...new Set(views.flatMap(({ reads }) => [...reads]))].filter((oid) => !members.has(oid))],
  );
  return views.flatMap((view) => {
    const tables = omitted.filter(({ oid }) => view.reads.has(oid)).map(displayTable);
    const more = tables.length - NAMED;
    return tables.length === 0
      ? []
      : {
          kind: 'viewRows',
          count: 1,
          what: `rows of the materialized view ${displayTable(view)}`,
          why: `it reads ${tables.slice(0, NAMED).join(', ')}${more > 0 ? ` and ${more} more tables` : ''}, whose rows the archive lacks. A recovered database fills it without them; once they are there, run: REFRESH MATERIALIZED VIEW ${quoteTable(view)}`,
        };
  });
}
