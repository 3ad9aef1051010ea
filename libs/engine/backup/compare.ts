import type { ManifestFacts } from '#archive';
import type { DatabaseIdentity } from '#contracts';
import type { BackupRequest } from './backup-request.js';
import { findBaseline, type FoundBaseline } from './find-baseline.js';
import { rowsOfTables, shrinkageSince, shrinkageWarning } from './shrinkage.js';

/** Starts to look for the earlier archive to compare with, while the rows are copied. */
export function startComparison(
  {
    repository,
    store,
    keyPrefix,
    shrinkWarningPercent,
    confirmedKey,
    predecessors = [],
    signal,
  }: BackupRequest,
  here: DatabaseIdentity,
): Promise<FoundBaseline> {
  if (shrinkWarningPercent === undefined) return Promise.resolve({});
  return findBaseline({
    // A store that is slow here does not delay the backup, and is no news.
    store: store.telling(() => undefined),
    keyPrefix,
    scope: repository.scope,
    databases: [here, ...predecessors],
    confirmedKey,
    signal,
  });
}

/** Compares the copied tables with the earlier archive. @returns members of the manifest */
export function compare(
  { baseline, problem }: FoundBaseline,
  tables: ManifestFacts['tables'],
  percent = 100,
): Pick<ManifestFacts, 'shrunk' | 'notCompared'> & { warnings: string[] } {
  if (problem !== undefined)
    return {
      notCompared: problem,
      warnings: [`The rows were not compared with an earlier archive: ${problem}.`],
    };
  const shrunk = baseline && shrinkageSince(baseline, rowsOfTables(tables), percent);
  return shrunk === undefined ? { warnings: [] } : { shrunk, warnings: [shrinkageWarning(shrunk)] };
}
