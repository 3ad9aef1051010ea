import type { OpenArchive } from '#archive';
import { Failure } from '#contracts';
import {
  attempt,
  createCopies,
  displayTable,
  hasRows,
  isCheckViolation,
  isForeignKeyViolation,
  makeKeysExact,
  type Obstacle,
  quoteTable,
  rebuildIndexes,
  refreshMaterializedViews,
  reinstateEventTriggers,
  type Session,
  setSequences,
  suspendEventTriggers,
  underPath,
} from '#postgres';
import type { CopyProgress } from './copy-progress.js';
import type { Fit } from './fit.js';
import { loadTables } from './load-tables.js';
import { danglingKey, violatedCheck } from './refused-rows.js';

/**
 * Does the work of a restore inside the open transaction, whose end is the caller's: makes the tables that are to
 * be made, empties the others, loads the rows, and leaves everything around them as it was.
 * @returns what could not be made as it was, by name
 * @throws Failure ARCHIVE_INVALID, FOREIGN_KEY_DANGLING, DESTINATION_REFUSED, or PostgreSQL's
 */
export async function replaceRows(
  session: Session,
  archive: OpenArchive,
  fit: Fit,
  progress: CopyProgress,
  signal: AbortSignal,
): Promise<string[]> {
  await suspendEventTriggers(session, fit.eventTriggers);
  await createCopies(session, fit.copies, fit.paths, fit.without);
  for (const { what, remove } of fit.obstacles.toReversed()) {
    progress.say(`Putting ${what} out of the way`);
    await session.query(remove);
  }
  if (fit.replace) await truncate(session, fit.tables);
  else await checkEmpty(session, fit.tables);
  // Before the rows, because somebody's open nextval may hold a sequence: better to find that out now.
  await setSequences(session, fit.sequences);
  await loadTables(session, archive, fit, progress, signal);
  const isKey = ({ validates }: Obstacle) => validates !== undefined;
  const leftOut = [...fit.inexact, ...(await putBackAll(fit.obstacles.filter((one) => !isKey(one))))];
  // Keys need them.
  leftOut.push(...(await rebuildIndexes(session, fit.lateIndexes, fit.paths)));
  leftOut.push(...(await putBackAll(fit.obstacles.filter(isKey))));
  leftOut.push(...(await makeKeysExact(session, fit.keys)));
  progress.allRows('Refreshing materialized views');
  leftOut.push(...(await refreshMaterializedViews(session, fit.views, fit.paths)));
  // Their functions may read any of it.
  for (const obstacle of fit.obstacles) {
    if (obstacle.validate === undefined) continue;
    progress.allRows(`Validating ${obstacle.what}`);
    leftOut.push(...(await validate(session, obstacle, obstacle.validate, fit)));
  }
  await reinstateEventTriggers(session, fit.eventTriggers);
  return leftOut;

  async function putBackAll(obstacles: Obstacle[]): Promise<string[]> {
    const lost: string[] = [];
    for (const obstacle of obstacles) {
      progress.allRows(`Putting back ${obstacle.what}`);
      lost.push(...(await putBack(session, obstacle, fit)));
    }
    return lost;
  }
}

type Relation = Parameters<typeof quoteTable>[0];

async function truncate(session: Session, tables: Relation[]): Promise<void> {
  if (tables.length === 0) return;
  await session.query(`TRUNCATE ${tables.map((table) => `ONLY ${quoteTable(table)}`).join(', ')}`);
}

/** Rows that are there may be somebody's: only in their own place are they replaced. */
async function checkEmpty(session: Session, tables: Relation[]): Promise<void> {
  for (const table of tables) {
    if (await hasRows(session, table))
      throw new Failure(
        'DESTINATION_REFUSED',
        'permanent',
        `The table ${displayTable(table)} is not empty.`,
        {
          hint: 'Nothing was changed. Rows are replaced in their own place only: empty it first.',
        },
      );
  }
}

/**
 * Runs definitions under the safe path, under which PostgreSQL printed them: so each name means the same object again.
 * Only a foreign key, whose definition calls no function, also reads rows, which may call operators of their types.
 * @returns what is not as it was, by name
 */
async function putBack(
  session: Session,
  { what, validates, putBack: statements, unvalidated, lost }: Obstacle,
  { paths, keepViolations }: Fit,
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
  'Nothing was changed. Before PostgreSQL 18 a foreign key of a partitioned table cannot be NOT VALID, so "keepViolations" does not help: restore both of its tables, or drop the key first and add it again when its rows are right.';

/** Holds a check against all rows. @returns its name, if it stays unvalidated */
async function validate(
  session: Session,
  { what }: Obstacle,
  { statement, under }: NonNullable<Obstacle['validate']>,
  { paths, keepViolations }: Fit,
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
