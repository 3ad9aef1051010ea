import type { OpenArchive } from '#archive';
import { Failure } from '#common';
import type { SequenceState, Session } from '#postgres';
import { type LargeObjectPlan, restoreLargeObjects } from '../restore/large-objects.js';
import type { RowProgress } from '../shared/row-progress.js';
import { analyzeAll, refreshViews, setAll } from './after-rows.js';
import { compareContents, compareGenerated } from './compare.js';
import { runAfterRows, runBeforeRows, type Workplace } from './definitions.js';
import { EarlyIndexes } from './early-indexes.js';
import { loadConfiguration } from './load-configuration.js';
import { isNameBound } from './name-bound.js';
import { type LoadedRows, loadRows } from './load-rows.js';
import { loadRefused } from './refused-tables.js';
import type { Script } from './script.js';
import type { SelectedStatements } from './select-statements.js';
import { alone } from './units.js';

/** The contents of a new database that are compared. */
interface Filled extends Pick<LoadedRows, 'loaded' | 'columns'> {
  sequences: SequenceState[];
}

/**
 * Gives an empty database the definitions and the contents of an archive.
 * @throws Failure ARCHIVE_INVALID, or PostgreSQL's
 */
export async function fillDatabase(
  workplace: Workplace,
  archive: OpenArchive,
  script: Script,
  { beforeRows, afterRows, eventTriggers }: SelectedStatements,
  loadLargeObjects: () => Promise<void>,
): Promise<Filled> {
  const { sessions } = workplace;
  const { manifest } = archive;
  if (manifest.database?.hasPublicSchema === false) await dropPublicSchema(workplace);
  const comments = await runBeforeRows(workplace, beforeRows);
  // Those of extensions fire until they are suppressed, which would also suppress keys that exist too early.
  const indexes = new EarlyIndexes(afterRows, !(await hasEventTriggers(sessions[0])));
  const { loaded, refused, columns } = await loadRows(workplace, archive, indexes);
  const sequences = await setAll(workplace, manifest.sequences);
  await loadConfiguration(workplace, archive, (extension) => !isNameBound(extension));
  await loadLargeObjects();
  await suppressTriggers(sessions);
  await runAfterRows(workplace, [...indexes.others, ...comments], () =>
    loadRefused(workplace, archive, refused),
  );
  await refreshViews(workplace, manifest, script);
  await runAfterRows(workplace, eventTriggers, () => Promise.resolve());
  return { loaded, columns, sequences };
}

/**
 * Collects planner statistics, and compares the contents of a new database with the manifest.
 * @throws Failure RECOVER_DIFFERS, or PostgreSQL's
 */
export async function analyzeAndCompare(
  workplace: Workplace,
  archive: OpenArchive,
  { loaded, columns, sequences }: Filled,
): Promise<void> {
  const { sessions, losses, progress } = workplace;
  progress.allRows('Collecting planner statistics');
  await analyzeAll(workplace, archive.manifest);
  progress.allRows('Comparing the database with the archive');
  losses.push(...(await compareGenerated(sessions[0], columns)));
  await compareContents(workplace, archive, { tables: loaded, sequences });
}

async function hasEventTriggers(session: Session): Promise<boolean> {
  return (await session.query('SELECT FROM pg_event_trigger LIMIT 1')).length > 0;
}

/** Every new database has it. */
async function dropPublicSchema({ sessions: [session], losses }: Workplace): Promise<void> {
  try {
    await alone(session, () => session.query('DROP SCHEMA IF EXISTS public'));
  } catch (error) {
    if (!(error instanceof Failure) || error.code !== 'DATABASE_PERMISSION_DENIED') throw error;
    losses.push(`the absence of the schema public (${error.message})`);
  }
}

/** Event triggers of extensions, and keys, exist by now. Only a superuser may silence them. */
async function suppressTriggers(sessions: Session[]): Promise<void> {
  for (const session of sessions)
    await alone(session, () => session.query(`SET session_replication_role = replica`)).catch(
      (error: unknown) => {
        if (!(error instanceof Failure) || error.code !== 'DATABASE_PERMISSION_DENIED') throw error;
      },
    );
}

/** Creates all archived large objects, in the open transaction. @returns properties that they could not get, for people */
export async function createLargeObjects(
  session: Session,
  archive: OpenArchive,
  roles: NonNullable<LargeObjectPlan['roles']>,
  progress: RowProgress,
): Promise<string[]> {
  const { largeObjects } = archive.manifest;
  if (largeObjects?.metadata === undefined) return [];
  const plan = { archived: largeObjects, extra: 0, removeExtra: false, locks: 0, statements: [], roles };
  return restoreLargeObjects(session, archive, plan, progress);
}
