import type { OpenArchive } from '#archive';
import { Failure } from '#contracts';
import {
  createCopies,
  displayTable,
  hasRows,
  isForeignKeyViolation,
  type Obstacle,
  quoteTable,
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
  // Joins for foreign keys are estimated as if they were slow, which they are not once the rows are frozen: no time is
  // to be spent on compiling them.
  await session.query('SET LOCAL jit = off');
  await suspendEventTriggers(session, fit.eventTriggers);
  await createCopies(session, fit.copies, fit.paths);
  for (const { what, remove } of fit.obstacles.toReversed()) {
    progress.say(`Putting ${what} out of the way`);
    await session.query(remove);
  }
  if (fit.replace) await truncate(session, fit.tables);
  else await checkEmpty(session, fit.tables);
  // Before the rows, because somebody's open nextval may hold a sequence: better to find that out now.
  await setSequences(session, fit.sequences);
  await loadTables(session, archive, fit, progress, signal);
  for (const obstacle of fit.obstacles) {
    progress.allRows(`Putting back ${obstacle.what}`);
    await putBack(session, obstacle, fit.paths);
  }
  progress.allRows('Refreshing materialized views');
  const stale = await refreshMaterializedViews(session, fit.views, fit.paths);
  await reinstateEventTriggers(session, fit.eventTriggers);
  return stale;
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
 */
async function putBack(
  session: Session,
  { what, validates, putBack: statements }: Obstacle,
  paths: Fit['paths'],
): Promise<void> {
  const path = validates === undefined ? undefined : paths.get(validates);
  try {
    await underPath(session, path, async () => {
      for (const statement of statements) await session.query(statement);
    });
  } catch (error) {
    if (!isForeignKeyViolation(error)) throw error;
    throw new Failure(
      'FOREIGN_KEY_DANGLING',
      'permanent',
      `Rows would refer to others that are not there: ${what} is violated.`,
      {
        hint: 'Nothing was changed. Restore both of its tables, or remove those rows first.',
        cause: error,
      },
    );
  }
}
