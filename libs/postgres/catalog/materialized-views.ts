import { FunctionBodies } from './code-uses.js';
import { displayTable, quoteTable, type Relation } from '../connection/identifiers.js';
import type { Members } from './members.js';
import { afterNeeds, reached } from './ordering.js';
import { attempt } from '../connection/transactions.js';
import type { Session } from '../connection/session.js';
import { type TrustedPath, underPath } from '../trust/trusted-path.js';

export interface MaterializedView extends Relation {
  oid: number;
  owner: string;
  /** Whether this role may refresh it. */
  mayRefresh: boolean;
}

/** A view to refresh, with the OIDs of the materialized views that it reads, directly or not. */
export interface ViewToRefresh extends MaterializedView {
  reads: number[];
}

/** The changes of a restore that make materialized views stale. */
export interface ChangedRows {
  schemas: string[];
  /** The tables whose rows are replaced. */
  tables: { oid: number }[];
  /** The views that were populated in the archive. */
  populated: Relation[];
}

/** A view or a materialized view. */
interface View extends MaterializedView {
  isMaterialized: boolean;
  isPopulated: boolean;
  /** Whether it calls functions that may read any table: users' functions, or functions that run a query given as text. */
  isOpaque: boolean;
  /** The OIDs of the functions that it calls, except PostgreSQL's own. */
  functions: number[];
}

/** A pattern of PostgreSQL's functions that run a query given as text, or read a table given by name. */
const QUERYING = '_to_xml|_to_xmlschema|ts_stat|ts_rewrite';

/** Lists the populated materialized views among the members, each after those that it reads. */
export async function listPopulatedViews(session: Session, { relations }: Members): Promise<Relation[]> {
  const members = new Set(relations);
  const { ordered } = await readViews(session);
  return ordered
    .filter(({ oid, isMaterialized, isPopulated }) => isMaterialized && isPopulated && members.has(oid))
    .map(({ schema, name }) => ({ schema, name }));
}

/**
 * Lists the materialized views to refresh after a restore, each after those that it reads:
 * - populated ones of any schema that read these tables, directly or through other views;
 * - populated ones of these schemas that call functions which may read any table;
 * - those that were populated in the archive and are not in the database.
 */
export async function listMaterializedViews(
  session: Session,
  { schemas, tables, populated }: ChangedRows,
): Promise<ViewToRefresh[]> {
  const { ordered, above, below, overOpaque } = await readViews(session);
  const materialized = new Set(ordered.filter(({ isMaterialized }) => isMaterialized).map(({ oid }) => oid));
  const overTables = reached(
    tables.map(({ oid }) => oid),
    above,
  );
  const isWanted = (view: View) =>
    populated.some(({ schema, name }) => schema === view.schema && name === view.name);
  const isStale = (view: View) =>
    overTables.has(view.oid) || (overOpaque.has(view.oid) && schemas.includes(view.schema));
  const isRefreshed = (view: View) =>
    view.isMaterialized && (view.isPopulated ? isStale(view) : isWanted(view));
  return ordered.filter(isRefreshed).map((view) => ({
    ...view,
    reads: [...reached([view.oid], below)].filter((one) => one !== view.oid && materialized.has(one)),
  }));
}

interface Views {
  /** Each after those that it reads. */
  ordered: View[];
  /** The views that read a relation, by OID. */
  above: (oid: number) => number[];
  /** The relations that a view reads, by OID. */
  below: (oid: number) => number[];
  /** Views that may read any table, directly or through other views. */
  overOpaque: Set<number>;
}

/** Reads all views of the database, and which relations they read. */
export async function readViews(session: Session): Promise<Views> {
  const views = await listViews(session);
  const byOid = new Map(views.map((view) => [view.oid, view]));
  const edges = await session.query<{ reader: number; read: number }>(
    `SELECT DISTINCT r.ev_class::int8::float8 AS reader, d.refobjid::int8::float8 AS read
       FROM pg_depend d JOIN pg_rewrite r ON r.oid = d.objid
      WHERE d.classid = 'pg_rewrite'::regclass AND d.refclassid = 'pg_class'::regclass
        AND r.ev_type = '1' AND r.ev_class <> d.refobjid
      UNION
     SELECT inhparent::int8::float8, inhrelid::int8::float8 FROM pg_inherits`,
  );
  const above = neighbours(edges.map(({ reader, read }) => [read, reader]));
  const calls = await readThroughFunctions(session, views);
  const below = neighbours([...edges.map(({ reader, read }): Edge => [reader, read]), ...calls]);
  const opaque = views.filter(({ isOpaque }) => isOpaque).map(({ oid }) => oid);
  const overOpaque = reached(opaque, above);
  // A function may read another view: so views without opaque functions, direct or not, come first.
  const known = views
    .map(({ oid }) => oid)
    .toSorted((a, b) => Number(overOpaque.has(a)) - Number(overOpaque.has(b)));
  const ordered = afterNeeds(known, below).flatMap((oid) => byOid.get(oid) ?? []);
  return { ordered, above, below, overOpaque };
}

/** The OIDs of a reader and of a relation that it reads. */
type Edge = [number, number];

/** Lists views with the views that their functions read, according to the functions' bodies. */
async function readThroughFunctions(session: Session, views: View[]): Promise<Edge[]> {
  const callers = views.filter(({ functions }) => functions.length > 0);
  if (callers.length === 0) return [];
  const bodies = await FunctionBodies.read(session);
  return callers.flatMap(({ oid, functions }) =>
    bodies.tablesRead(functions, views).map((read): Edge => [oid, read.oid]),
  );
}

function neighbours(pairs: Edge[]): (oid: number) => number[] {
  const of = new Map<number, number[]>();
  for (const [from, to] of pairs) {
    const all = of.get(from);
    if (all === undefined) of.set(from, [to]);
    else all.push(to);
  }
  return (oid) => of.get(oid) ?? [];
}

function listViews(session: Session): Promise<View[]> {
  return session.query<View>(
    `SELECT c.oid::int8::float8 AS oid, n.nspname AS schema, c.relname AS name, pg_get_userbyid(c.relowner) AS owner,
            c.relkind = 'm' AS "isMaterialized", c.relispopulated AS "isPopulated",
            pg_has_role(c.relowner, 'USAGE')
              OR CASE WHEN current_setting('server_version_num')::int >= 170000
                      THEN has_table_privilege(c.oid, 'MAINTAIN') ELSE false END AS "mayRefresh",
            -- pg_get_viewdef would wait for locks on the tables that the view reads.
            called.functions, called.functions <> '{}' OR r.ev_action::text ~ (
              SELECT format(':funcid (%s) ', string_agg(oid::text, '|')) FROM pg_proc
               WHERE pronamespace = 'pg_catalog'::regnamespace AND proname ~ $1) AS "isOpaque"
       FROM pg_rewrite r JOIN pg_class c ON c.oid = r.ev_class JOIN pg_namespace n ON n.oid = c.relnamespace
       -- Dependencies on PostgreSQL's own functions are not recorded.
       CROSS JOIN LATERAL (SELECT ARRAY(
         SELECT DISTINCT CASE WHEN d.refclassid = 'pg_proc'::regclass THEN d.refobjid ELSE o.oprcode::oid END::int8::float8
           FROM pg_depend d LEFT JOIN pg_operator o ON d.refclassid = 'pg_operator'::regclass AND o.oid = d.refobjid
          WHERE d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid
            AND d.refclassid IN ('pg_proc'::regclass, 'pg_operator'::regclass)) AS functions) AS called
      WHERE r.ev_type = '1' AND c.relkind IN ('v', 'm') AND n.nspname NOT IN ('pg_catalog', 'information_schema')
      ORDER BY c.oid`,
    [QUERYING],
  );
}

/**
 * Refreshes materialized views.
 * @returns the views that stay stale, each with the reason, and the views that read them, for messages
 */
export async function refreshMaterializedViews(
  session: Session,
  views: ViewToRefresh[],
  paths: Map<number, TrustedPath>,
): Promise<string[]> {
  const stale = new Map<number, string>();
  const inexact: string[] = [];
  for (const view of views) {
    const what = `the materialized view ${displayTable(view)}`;
    const reason = await refreshFault(session, view, paths);
    const old = view.reads.flatMap((oid) => stale.get(oid) ?? []);
    if (reason !== undefined) {
      stale.set(view.oid, displayTable(view));
      inexact.push(`${what} (not refreshed: ${reason})`);
    } else if (old.length > 0)
      inexact.push(`${what} (refreshed from old rows: it may read ${old.join(', ')}, not refreshed)`);
  }
  return inexact;
}

/** Refreshes one view. @returns why it failed */
async function refreshFault(
  session: Session,
  view: MaterializedView,
  paths: Map<number, TrustedPath>,
): Promise<string | undefined> {
  if (!view.mayRefresh) return `it belongs to ${view.owner}`;
  const refresh = () => session.query(`REFRESH MATERIALIZED VIEW ${quoteTable(view)}`);
  const failure = await attempt(session, () => underPath(session, paths.get(view.oid), refresh));
  return failure?.sentence;
}
