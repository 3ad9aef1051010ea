import type { OpenArchive } from '#archive';
import { Failure } from '#common';
import {
  attempt,
  completeTables,
  createScratchTables,
  createTables,
  displayTable,
  giveDefaults,
  hasRows,
  isCheckViolation,
  isForeignKeyViolation,
  makeKeysExact,
  type Suspension,
  quoteTable,
  rebuildIndexes,
  refreshMaterializedViews,
  type Relation,
  reinstateEventTriggers,
  type Session,
  setSequences,
  suspendEventTriggers,
  underPath,
} from '#postgres';
import type { RowProgress } from '../shared/row-progress.js';
import type { RestorePlan } from './restore-plan.js';
import { restoreLargeObjects } from './large-objects.js';
import { loadTables } from './load-tables.js';
import { danglingKey, violatedCheck } from './refused-rows.js';

/**
 * Does the work of a restore in the open transaction, which the caller ends: creates or truncates the tables, loads the
 * rows, and reinstates everything that depends on them.
 * @returns the objects that it could not reinstate exactly, by name
 * @throws Failure ARCHIVE_INVALID, FOREIGN_KEY_DANGLING, DESTINATION_REFUSED, or PostgreSQL's
 */
export async function replaceRows(
  session: Session,
  archive: OpenArchive,
  plan: RestorePlan,
  progress: RowProgress,
  signal: AbortSignal,
): Promise<string[]> {
  await suspendEventTriggers(session, plan.eventTriggers);
  await createScratchTables(session, plan.scratchTables, plan.paths);
  const notCreated = await createTables(session, plan.created);
  const extra = plan.columnMaps.flatMap((map) => map.extra.map((name) => ({ ...map, name })));
  await giveDefaults(session, plan.scratchTables, extra);
  for (const { what, suspend } of plan.suspensions.toReversed()) {
    progress.say(`Suspending ${what}`);
    await session.query(suspend);
  }
  if (plan.replace) await truncate(session, plan.tables);
  else await checkEmpty(session, plan.tables);
  // Before the rows: if another session's nextval holds a sequence, the restore should notice now.
  await setSequences(session, plan.sequences);
  // Before the rows, whose checks may read large objects.
  const inexact = await restoreLargeObjects(session, archive, plan.largeObjects, progress);
  await loadTables(session, archive, plan, progress, signal);
  const isKey = ({ validates }: Suspension) => validates !== undefined;
  const omissions = [
    ...inexact,
    ...plan.inexact,
    ...notCreated,
    ...(await completeTables(session, plan.created)),
    ...(await reinstateAll(plan.suspensions.filter((one) => !isKey(one)))),
  ];
  // Foreign keys need these indexes.
  omissions.push(...(await rebuildIndexes(session, plan.lateIndexes, plan.paths)));
  omissions.push(...(await reinstateAll(plan.suspensions.filter(isKey))));
  omissions.push(...(await makeKeysExact(session, plan.keys)));
  progress.allRows('Refreshing materialized views');
  omissions.push(...(await refreshMaterializedViews(session, plan.views, plan.paths)));
  // The functions of checks may read all of the above.
  for (const suspension of plan.suspensions) {
    if (suspension.validate === undefined) continue;
    progress.allRows(`Validating ${suspension.what}`);
    omissions.push(...(await validate(session, suspension, suspension.validate, plan)));
  }
  await reinstateEventTriggers(session, plan.eventTriggers);
  return omissions;

  async function reinstateAll(suspensions: Suspension[]): Promise<string[]> {
    const lost: string[] = [];
    for (const suspension of suspensions) {
      progress.allRows(`Reinstating ${suspension.what}`);
      lost.push(...(await reinstate(session, suspension, plan)));
    }
    return lost;
  }
}

async function truncate(session: Session, tables: Relation[]): Promise<void> {
  if (tables.length === 0) return;
  await session.query(`TRUNCATE ${tables.map((table) => `ONLY ${quoteTable(table)}`).join(', ')}`);
}

/** Refuses tables with rows: a restore replaces rows in the original tables only. */
async function checkEmpty(session: Session, tables: Relation[]): Promise<void> {
  for (const table of tables) {
    if (await hasRows(session, table))
      throw new Failure(
        'DESTINATION_REFUSED',
        'permanent',
        `The table ${displayTable(table)} is not empty.`,
        {
          hint: 'Nothing was changed. A restore replaces rows in the original tables only: empty the table first.',
        },
      );
  }
}

/**
 * Runs definitions under the empty path, under which PostgreSQL printed them, so that each name means the same object
 * again. Only foreign keys use the trusted path: they read rows, which may call operators of their types.
 * @returns the objects that are not reinstated exactly, by name
 */
async function reinstate(
  session: Session,
  { what, validates, reinstate: statements, unvalidated, lost }: Suspension,
  { paths, keepViolations }: RestorePlan,
): Promise<string[]> {
  if (lost !== undefined) return [`${what} (dropped: ${lost})`];
  const run = () =>
    underPath(session, validates === undefined ? undefined : paths.get(validates), async () => {
      for (const statement of statements) await session.query(statement);
    });
  if (keepViolations && unvalidated !== undefined) {
    const failure = await attempt(session, run);
    if (failure === undefined) return [];
    if (!isForeignKeyViolation(failure)) throw failure;
    if ((await attempt(session, () => session.query(unvalidated))) !== undefined)
      throw danglingKey(what, failure, CANNOT_BE_UNVALIDATED);
    for (const statement of statements.slice(1)) await session.query(statement);
    return [`${what} (NOT VALID: rows violate it)`];
  }
  try {
    await run();
    return [];
  } catch (error) {
    if (!isForeignKeyViolation(error)) throw error;
    throw danglingKey(what, error);
  }
}

const CANNOT_BE_UNVALIDATED =
  'Nothing was changed. Before PostgreSQL 18 a foreign key of a partitioned table cannot be NOT VALID, so "keepViolations" does not help: restore both of its tables, or drop the key first and add it again after you have corrected its rows.';

/** Validates a check against all rows. @returns its name if it stays NOT VALID */
async function validate(
  session: Session,
  { what }: Suspension,
  { statement, under }: NonNullable<Suspension['validate']>,
  { paths, keepViolations }: RestorePlan,
): Promise<string[]> {
  const run = () => underPath(session, paths.get(under), () => session.query(statement));
  if (keepViolations) {
    const failure = await attempt(session, run);
    return failure === undefined ? [] : [`${what} (NOT VALID: ${failure.sentence})`];
  }
  try {
    await run();
    return [];
  } catch (error) {
    if (!isCheckViolation(error)) throw error;
    throw violatedCheck(what, { cause: error });
  }
}
