import type { OpenArchive } from '#archive';
import { Failure } from '#contracts';
import {
  createCopies,
  displayTable,
  isForeignKeyViolation,
  type Obstacle,
  quoteTable,
  refreshMaterializedViews,
  type Session,
  setSequences,
} from '#postgres';
import type { CopyProgress } from './copy-progress.js';
import type { Fit } from './fit.js';
import { loadTables } from './load-tables.js';

/** A server that was given more keeps it. */
const MAINTENANCE_WORK_MEM = '256MB';

/**
 * Does the work of a restore inside the open transaction, whose end is the caller's: makes the tables that are to
 * be made, empties the others, loads the rows, and leaves everything around them as it was.
 * @throws Failure ARCHIVE_INVALID, FOREIGN_KEY_DANGLING, DESTINATION_REFUSED, or PostgreSQL's
 */
export async function replaceRows(
  session: Session,
  archive: OpenArchive,
  fit: Fit,
  progress: CopyProgress,
  signal: AbortSignal,
): Promise<void> {
  await tuneForLoading(session);
  await createCopies(session, fit.copies);
  for (const { what, remove } of fit.obstacles.toReversed()) {
    progress.say(`Putting ${what} out of the way`);
    await session.query(remove);
  }
  if (fit.replace) await truncate(session, fit.tables);
  else await checkEmpty(session, fit.tables);
  // Before the rows, because somebody's open nextval may hold a sequence: better to find that out now.
  await setSequences(session, fit.sequences);
  // Defaults, checks and generated columns may call functions by their bare names.
  await session.query('SET LOCAL search_path TO DEFAULT');
  await loadTables(session, archive, fit, progress, signal);
  for (const obstacle of fit.obstacles) {
    progress.allRows(`Putting back ${obstacle.what}`);
    await putBack(session, obstacle);
  }
  progress.allRows('Refreshing materialized views and statistics');
  await refreshMaterializedViews(session, fit.views);
  const loaded = fit.archived.map((table) => quoteTable(fit.place(table)));
  if (loaded.length > 0) await session.query(`ANALYZE ${loaded.join(', ')}`);
}

/**
 * Sorts for indexes and joins for foreign keys fit into memory, and no time is spent on compiling these joins: they
 * are estimated as if they were slow, which they are not once the rows are frozen.
 */
async function tuneForLoading(session: Session): Promise<void> {
  await session.query('SET LOCAL jit = off');
  await session.query(
    `SELECT set_config(name, $1, true) FROM pg_settings
      WHERE name = 'maintenance_work_mem' AND setting::int8 * 1024 < pg_size_bytes($1)`,
    [MAINTENANCE_WORK_MEM],
  );
}

type Relation = Parameters<typeof quoteTable>[0];

async function truncate(session: Session, tables: Relation[]): Promise<void> {
  if (tables.length === 0) return;
  await session.query(`TRUNCATE ${tables.map((table) => `ONLY ${quoteTable(table)}`).join(', ')}`);
}

/** Rows that are there may be somebody's: only in their own place are they replaced. */
async function checkEmpty(session: Session, tables: Relation[]): Promise<void> {
  for (const table of tables) {
    const rows = await session.query(`SELECT FROM ONLY ${quoteTable(table)} LIMIT 1`);
    if (rows.length > 0)
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

/** Adding a foreign key checks it. */
async function putBack(session: Session, { what, putBack: statements }: Obstacle): Promise<void> {
  try {
    for (const statement of statements) await session.query(statement);
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
