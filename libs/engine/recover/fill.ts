import type { OpenArchive } from '#archive';
import { Failure } from '#common';
import type { Session } from '#postgres';
import { type LargeObjectPlan, restoreLargeObjects } from '../restore/large-objects.js';
import type { RowProgress } from '../shared/row-progress.js';
import { analyzeAll, refreshViews, setAll } from './after-rows.js';
import { compareContents, compareGenerated } from './compare.js';
import { runAfterRows, runBeforeRows, type Workplace } from './definitions.js';
import { loadConfiguration } from './load-configuration.js';
import { isNameBound } from './name-bound.js';
import { loadRows } from './load-rows.js';
import { loadRefused } from './refused-tables.js';
import type { Script } from './script.js';
import type { SelectedStatements } from './select-statements.js';
import { alone } from './units.js';

/**
 * Gives an empty database the definitions and the contents of an archive, and compares it with the manifest.
 * @throws Failure RECOVER_DIFFERS, ARCHIVE_INVALID, or PostgreSQL's
 */
export async function fillDatabase(
  workplace: Workplace,
  archive: OpenArchive,
  script: Script,
  { beforeRows, afterRows, eventTriggers }: SelectedStatements,
  loadLargeObjects: () => Promise<void>,
): Promise<void> {
  const { sessions, losses, progress } = workplace;
  const { manifest } = archive;
  const comments = await runBeforeRows(workplace, beforeRows);
  const { loaded, refused, columns } = await loadRows(workplace, archive);
  const sequences = await setAll(workplace, manifest.sequences);
  await loadConfiguration(workplace, archive, (extension) => !isNameBound(extension));
  await loadLargeObjects();
  await suppressTriggers(sessions);
  await runAfterRows(workplace, [...afterRows, ...comments], () => loadRefused(workplace, archive, refused));
  await refreshViews(workplace, manifest, script);
  await runAfterRows(workplace, eventTriggers, () => Promise.resolve());
  progress.allRows('Collecting planner statistics');
  await analyzeAll(workplace, manifest);
  progress.allRows('Comparing the database with the archive');
  losses.push(...(await compareGenerated(sessions[0], columns)));
  await compareContents(workplace, archive, { tables: loaded, sequences });
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
