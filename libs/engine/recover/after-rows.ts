import type { Manifest } from '#archive';
import { Failure } from '#common';
import {
  displayTable,
  isRefusal,
  quoteTable,
  type Relation,
  type SequenceState,
  type Session,
} from '#postgres';
import type { Workplace } from './definitions.js';
import { runParallel } from './parallel.js';
import type { Script } from './script.js';
import { underDatabasePath } from './search-path.js';
import { alone } from './units.js';

/**
 * Sets the states of sequences.
 * @returns those that exist: only a drill accepts missing ones
 * @throws Failure ARCHIVE_DOES_NOT_FIT
 */
export async function setAll(
  { sessions, notProven }: Workplace,
  states: SequenceState[],
): Promise<SequenceState[]> {
  const rows = await sessions[0].query<{ exists: boolean }>(
    `SELECT CASE WHEN to_regclass(name) IS NOT NULL THEN pg_catalog.setval(to_regclass(name), value, called) END IS NOT NULL AS exists
       FROM unnest($1::text[], $2::bigint[], $3::boolean[]) WITH ORDINALITY AS state (name, value, called, number) ORDER BY number`,
    [
      states.map(quoteTable),
      states.map(({ lastValue }) => lastValue),
      states.map(({ isCalled }) => isCalled),
    ],
  );
  const missing = states.filter((_, index) => rows[index]?.exists !== true);
  if (missing.length === 0) return states;
  if (notProven === undefined || notProven.isEmpty) throw definitionsLack('the sequences', missing);
  for (const sequence of missing) notProven.addContents(sequence);
  return states.filter((_, index) => rows[index]?.exists === true);
}

/** The failure if the schema definitions do not create relations whose contents the archive holds. */
export function definitionsLack(what: string, missing: Relation[]): Failure {
  const more = missing.length > NAMED ? ` and ${missing.length - NAMED} more` : '';
  return new Failure(
    'ARCHIVE_DOES_NOT_FIT',
    'permanent',
    `The archive's schema definitions do not create ${what} ${missing.slice(0, NAMED).map(displayTable).join(', ')}${more}, whose contents it holds.`,
    { hint: 'Choose another archive.' },
  );
}

/** The most relations that a message names. */
const NAMED = 10;

/**
 * Refreshes the materialized views that were populated, each after those that it reads. A view that cannot be refreshed
 * stays empty, and is a loss.
 */
export async function refreshViews(workplace: Workplace, manifest: Manifest, script: Script): Promise<void> {
  const { sessions, losses, progress, signal } = workplace;
  let waiting = manifest.populatedViews ?? viewsOf(script);
  let failed: { view: Relation; failure: Failure }[] = [];
  do {
    const views = waiting;
    failed = [];
    for (const view of views) {
      signal.throwIfAborted();
      progress.allRows(`Refreshing the materialized view ${displayTable(view)}`);
      const statement = `REFRESH MATERIALIZED VIEW ${quoteTable(view)}`;
      const failure = await refusedUnderPaths(sessions[0], statement, manifest);
      if (failure !== undefined) failed.push({ view, failure });
    }
    waiting = failed.map(({ view }) => view);
    if (waiting.length === views.length) break;
  } while (waiting.length > 0);
  losses.push(
    ...failed.map(
      ({ view, failure }) => `rows of the materialized view ${displayTable(view)} (${failure.message})`,
    ),
  );
}

/** Runs a statement that runs functions of users. @returns the failure if PostgreSQL refuses it */
async function refusedUnderPaths(
  session: Session,
  statement: string,
  manifest: Manifest,
): Promise<Failure | undefined> {
  const first = await refused(session, () => session.query(statement));
  if (first === undefined) return undefined;
  return underDatabasePath(session, manifest, () => refused(session, () => session.query(statement)));
}

/** @returns the failure if PostgreSQL refuses it, or cannot reach another server */
async function refused(session: Session, work: () => Promise<unknown>): Promise<Failure | undefined> {
  try {
    await alone(session, work);
    return undefined;
  } catch (error) {
    // Class 08 concerns a foreign server if the connection itself lives.
    if (error instanceof Failure && (isRefusal(error) || error.code === 'DATABASE_QUERY_FAILED'))
      return error;
    throw error;
  }
}

/** Older archives do not say which ones were populated. */
function viewsOf({ beforeRows, afterRows }: Script): Relation[] {
  return [...beforeRows, ...afterRows].flatMap(({ kind, schema, name, sql }) =>
    kind === 'MATERIALIZED VIEW' && schema !== null && sql.startsWith('CREATE ') ? [{ schema, name }] : [],
  );
}

/** Collects planner statistics of all tables and materialized views, in parallel. */
export async function analyzeAll({ sessions, losses, signal }: Workplace, manifest: Manifest): Promise<void> {
  const tables = await sessions[0].query<Relation & { only: boolean }>(
    // ANALYZE of a partitioned table includes its partitions before PostgreSQL 18.
    `SELECT n.nspname AS schema, c.relname AS name, newer AND c.relkind = 'p' AS only
       FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
       CROSS JOIN (SELECT current_setting('server_version_num')::int >= 180000 AS newer) AS server
      WHERE c.oid >= 16384 AND c.relkind IN ('r', 'm', 'p') AND (c.relkind <> 'm' OR c.relispopulated) AND (newer OR NOT c.relispartition)
        AND c.relpersistence <> 't'
      ORDER BY c.relpages DESC`,
  );
  const tasks = tables.map(({ only, ...table }) => ({
    locks: quoteTable(table),
    shared: true,
    run: async (session: Session) => {
      const statement = `ANALYZE ${only ? 'ONLY ' : ''}${quoteTable(table)}`;
      const failure = await refusedUnderPaths(session, statement, manifest);
      if (failure !== undefined) losses.push(`statistics of ${displayTable(table)} (${failure.message})`);
    },
  }));
  await runParallel(sessions, tasks, signal);
}
