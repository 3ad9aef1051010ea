import { isDeepStrictEqual } from 'node:util';
import { findManifest, type ManifestSummary } from '#archive';
import { errorSentence, Failure, isSameDatabase } from '#common';
import { type Scope, scopeOf } from '#config';
import type { DatabaseIdentity } from '#contracts';
import type { ListedObject, ObjectStore } from '#storage';
import { type Baseline, rowsOfTables } from './shrinkage.js';

/** The search must not delay backups if the object store is slow. */
const FOUND_WITHIN_MS = 30_000;

/** The newest archives that are read at most, one after the other, until one can be compared with. */
const MOST_READ = 1_000;

/** The name of an archive that a backup has made. */
const NAME = /^BackupDaemonJob\d+-\d+\.zip$/;

export interface BaselineRequest {
  store: ObjectStore;
  keyPrefix: string;
  scope: Scope;
  /** The database, and those that were the repository before. */
  databases: DatabaseIdentity[];
  /** The key of the newest archive whose loss of rows somebody has confirmed. */
  confirmedKey?: string | undefined;
  signal: AbortSignal;
}

interface Candidate extends Baseline {
  /** When it was uploaded: milliseconds since 1970. */
  modifiedOn: number;
}

/** The archive to compare with, or why there is none. Neither if this is the first archive. */
export interface FoundBaseline {
  baseline?: Baseline;
  problem?: string;
}

/**
 * Finds the last archive of the same database and scope that had no unconfirmed loss of rows. Never fails: a backup
 * matters more than its comparison.
 */
export async function findBaseline(request: BaselineRequest): Promise<FoundBaseline> {
  const tooLate = AbortSignal.timeout(FOUND_WITHIN_MS);
  try {
    return await search({ ...request, signal: AbortSignal.any([request.signal, tooLate]) });
  } catch (error) {
    return {
      problem: tooLate.aborted
        ? `the object store has not answered within ${FOUND_WITHIN_MS / 1_000} seconds`
        : errorSentence(error),
    };
  }
}

async function search({ confirmedKey, ...request }: BaselineRequest): Promise<FoundBaseline> {
  const { store, keyPrefix, signal } = request;
  const damaged: string[] = [];
  let baseline: Candidate | undefined;
  /** An archive that was not compared itself: better than none. */
  let uncompared: Candidate | undefined;
  for (const object of await newestArchives(request)) {
    if (baseline !== undefined && object.modifiedOn < baseline.modifiedOn) break;
    const archive = object.key.slice(keyPrefix.length);
    let summary: ManifestSummary;
    try {
      summary = await (await findManifest(store.openListed(object, signal))).read();
    } catch (error) {
      if (!(error instanceof Failure) || error.code !== 'ARCHIVE_INVALID') throw error;
      damaged.push(archive);
      continue;
    }
    if (!isOf(summary, request)) continue;
    if (summary.shrunk !== undefined && object.key !== confirmedKey) continue;
    const { modifiedOn } = object;
    const { takenAt } = summary;
    const candidate = { archive, takenAt, modifiedOn, rows: rowsOfTables(summary.tables) };
    if (summary.notCompared === undefined) baseline = later(baseline, candidate);
    else uncompared = later(uncompared, candidate);
  }
  const found = baseline ?? uncompared;
  if (found !== undefined) return { baseline: found };
  const [first] = damaged;
  return first === undefined ? {} : { problem: `the archive ${first} is damaged` };
}

/** The later of two archives, the first of which is listed first. S3 tells their order only to the second. */
function later(one: Candidate | undefined, other: Candidate): Candidate {
  if (one === undefined) return other;
  return other.modifiedOn === one.modifiedOn && other.takenAt > one.takenAt ? other : one;
}

/** The archives below the prefix that may be of this repository, newest first. Holds few of them, however many there are. */
async function newestArchives({ store, keyPrefix, signal }: BaselineRequest): Promise<ListedObject[]> {
  let newest: ListedObject[] = [];
  const cut = () => {
    newest.sort((one, other) => other.modifiedOn - one.modifiedOn || (one.key < other.key ? 1 : -1));
    newest = newest.slice(0, MOST_READ);
  };
  for await (const object of store.list(`${keyPrefix}BackupDaemonJob`, signal)) {
    if (NAME.test(object.key.slice(keyPrefix.length))) newest.push(object);
    if (newest.length >= 2 * MOST_READ) cut();
  }
  cut();
  return newest;
}

/** Whether an archive is of this database, or of one that was the repository before, and of the same scope. */
function isOf(
  { server, schemas, scope = scopeOf(schemas) }: ManifestSummary,
  { databases, scope: asked }: Pick<BaselineRequest, 'databases' | 'scope'>,
): boolean {
  const { systemIdentifier = null, databaseOid, database: databaseName } = server;
  const isSame = databases.some((one) => {
    const known = databaseOid === undefined ? undefined : { systemIdentifier, databaseOid, databaseName };
    return (known && isSameDatabase(one, known)) ?? one.databaseName === databaseName;
  });
  return isSame && isDeepStrictEqual(comparable(scope), comparable(asked));
}

/** The order of the lists does not matter. */
function comparable({ schemas, excludeSchemas, excludeTables, excludeTableRows }: Scope) {
  return [schemas, excludeSchemas, excludeTables, excludeTableRows].map((names) =>
    names === '*' ? names : [...names].sort(),
  );
}
