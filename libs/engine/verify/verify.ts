import { type Manifest, openArchive, type OpenArchive, otherFiles } from '#archive';
import { type ErrorCode, errorSentence, Failure, progressTotal } from '#common';
import type { VerificationLevel, VerificationProof } from '#contracts';
import type { Keys } from '#keys';
import { expectRoomForLocks, isRefusal } from '#postgres';
import type { ListedObject } from '#storage';
import type { JobRequest } from '../shared/job-request.js';
import { RowProgress } from '../shared/row-progress.js';
import { endSessionsOfEarlierAttempts } from '../shared/takeover.js';
import { checkLargeObjects } from '../restore/large-objects.js';
import { furtherLocks, planRestore } from '../restore/restore-plan.js';
import { type ColumnOptions, describeColumns } from '../restore/column-map.js';
import { nameSession } from '../shared/journal.js';
import { readToEnd } from '../restore/load-tables.js';
import { expectSameDatabase, findStored, type Provenance } from '../shared/archive-source.js';
import { withRepositorySession } from '../shared/repository-session.js';
import { warnOfNewConditions } from './warnings.js';
import { proofOf } from './proof.js';
import { drillByRecover, type DrillServer } from './recover-drill.js';
import {
  higherLevel,
  readRecordOf,
  type VerificationFacts,
  verificationKey,
  verificationRecord,
} from './verification-record.js';

export interface VerifyRequest extends JobRequest, ColumnOptions, Provenance {
  /** The archive's key. */
  key: string;
  /** Keys that sign the record. */
  keys: Keys;
  /** Accept tables that the archive does not hold, as the restore option does. */
  allowExtraTables: boolean;
  /** Accept that event triggers fire, as the restore option does. */
  fireEventTriggers: boolean;
  level: VerificationLevel;
  /** Where drills recover. */
  drillServer: DrillServer;
  /** Whether a role with rights beyond its own objects may drill on the server of the repository. */
  drillAsSuperuser: boolean;
}

export interface VerifyResult {
  entities: number;
  /** The archive's length. */
  bytes: number;
  /** Contents that the archive does not hold. */
  archiveOmits: Manifest['leftOut'];
  /** Possible obstacles to a restore that only a restore or a drill proves. */
  warnings: string[];
  verification: VerificationProof;
}

interface Findings {
  warnings: string[];
  /** The warnings that name something that this level proves for other archives. */
  unproven: string[];
}

/**
 * Reads a whole archive, checks what its level demands without changing the repository, and stores the outcome beside the
 * archive. The level READ connects to no database.
 * @throws Failure that names the fault, or the signal's reason
 */
export async function verify(request: VerifyRequest): Promise<VerifyResult> {
  const { key, store, signal, journal, level } = request;
  const startedAt = performance.now();
  // A drill settles the earlier ones itself, on its own server.
  if (level !== 'DRILL') {
    await endSessionsOfEarlierAttempts(request, new RowProgress(journal.report));
    if (request.endAfterSettling !== undefined) throw request.endAfterSettling;
  }
  journal.report({ message: `Opening the archive ${key}`, current: 0, total: 0 });
  const object = await findStored(store, key, signal);
  try {
    const archive = await openArchive(store.openListed(object, signal));
    const { warnings, unproven } = await CHECKS[level](request, archive);
    const { entities } = archive.manifest.totals;
    const durationMs = Math.round(performance.now() - startedAt);
    const proof = { durationMs, ...proofOf(level, unproven) };
    await storeOutcome(request, object, { restorable: true, entities, ...proof });
    const { leftOut } = archive.manifest;
    return {
      entities,
      bytes: object.bytes,
      archiveOmits: leftOut,
      warnings,
      verification: { level, ...proof },
    };
  } catch (error) {
    if (signal.aborted) throw signal.reason;
    // Damage, differing definitions and rows that PostgreSQL refuses are faults of the archive. Network errors are not.
    if (error instanceof Failure && (ARCHIVE_FAULTS.test(error.code) || isRefusal(error)))
      await storeOutcome(request, object, {
        restorable: false,
        reason: errorSentence(error),
        durationMs: Math.round(performance.now() - startedAt),
      });
    throw error;
  }
}

/** Faults of the archive, or of its rows in this database. */
const ARCHIVE_FAULTS = /^(ARCHIVE_.*|CHECK_VIOLATED|RECOVER_DIFFERS)$/;

/** Faults of the worker's role, which do not concern the archive. */
const ROLE_FAULTS: ErrorCode[] = ['OWNERSHIP_MISSING', 'EVENT_TRIGGER', 'DATABASE_PERMISSION_DENIED'];

const CHECKS: Record<VerificationLevel, (request: VerifyRequest, archive: OpenArchive) => Promise<Findings>> =
  { READ: read, FIT: readAndFit, DRILL: recoverAndDrop };

/** Reads everything, and compares it with the manifest. */
async function read({ journal, signal }: VerifyRequest, archive: OpenArchive): Promise<Findings> {
  const progress = new RowProgress(journal.report);
  progress.expect(archive.manifest.totals.entities);
  await readAll(archive, progress, signal);
  progress.allRows('Storing the outcome');
  return { warnings: [], unproven: [] };
}

/** Recovers the archive into a scratch database. */
async function recoverAndDrop(request: VerifyRequest, archive: OpenArchive): Promise<Findings> {
  const { drillServer, drillAsSuperuser } = request;
  const { losses, notProven } = await drillByRecover(request, archive, drillServer, drillAsSuperuser);
  await readRest(archive, notProven.length > 0, request.signal);
  const warnings = losses.map((loss) => `The recovered database did not have this exactly: ${loss}.`);
  return { warnings, unproven: [...warnings, ...notProven.map((what) => `The drill did not try: ${what}.`)] };
}

/** Reads everything, and asks the repository whether it would accept a restore in place. */
async function readAndFit(request: VerifyRequest, archive: OpenArchive): Promise<Findings> {
  const { repository, daemonId, journal, signal } = request;
  const progress = new RowProgress(journal.report);
  progress.expect(archive.manifest.totals.entities);
  const applicationName = await nameSession(journal, `verify ${daemonId}`);
  // Shared, as in a backup: a restore meanwhile waits and reports it.
  const sessionOptions = { repository, applicationName, progress, signal, lock: 'shared' } as const;
  return withRepositorySession(sessionOptions, async (session, ended) => {
    await expectSameDatabase(session, archive.manifest, request);
    const { allowExtraTables, allowExtraColumns, dropColumns, fireEventTriggers } = request;
    const options = {
      scope: repository.scope,
      allowExtraTables,
      allowExtraColumns,
      dropColumns,
      fireEventTriggers,
    };
    let lacking: Failure | undefined;
    const warnings: string[] = [];
    const unproven: string[] = [];
    try {
      const plan = await planRestore(session, archive, options);
      const { archived, tables, columnMaps } = plan;
      warnings.push(...describeColumns(columnMaps));
      warnings.push(...(await expectRoomForLocks(session, tables, furtherLocks(plan))));
      unproven.push(...(await warnOfNewConditions(session, archived, tables)));
    } catch (error) {
      if (!(error instanceof Failure) || !ROLE_FAULTS.includes(error.code)) throw error;
      lacking = error;
    }
    await readAll(archive, progress, ended);
    if (lacking !== undefined)
      throw lacking.and(
        'The archive itself was read: it is complete and fits the tables here. A verification of level READ needs none of these rights.',
      );
    progress.allRows('Storing the outcome');
    return { warnings: [...warnings, ...unproven], unproven };
  });
}

async function readAll(archive: OpenArchive, progress: RowProgress, signal: AbortSignal): Promise<void> {
  await readRows(archive, progress, signal);
  await checkLargeObjects(archive, progress);
  await readOtherFiles(archive, signal);
}

/** Reads the entries that a drill has not read. @param all if it had to leave out some tables */
async function readRest(archive: OpenArchive, all: boolean, signal: AbortSignal): Promise<void> {
  const tables = archive.manifest.tables.filter(({ rows }) => all || rows === 0);
  await readToEnd(
    archive,
    tables.flatMap(({ entries }) => entries),
    signal,
  );
  await readOtherFiles(archive, signal);
}

/** Reads the entries that restores do not read, such as the schema definitions and the roles. */
function readOtherFiles(archive: OpenArchive, signal: AbortSignal): Promise<void> {
  return readToEnd(archive, otherFiles(archive.manifest), signal);
}

/** Reads all rows, and checks the length and checksums of each entry against the manifest. */
async function readRows(archive: OpenArchive, progress: RowProgress, signal: AbortSignal): Promise<void> {
  const entries = archive.manifest.tables.flatMap((table) => table.entries);
  await readToEnd(archive, entries, signal, (entry, bytes) => {
    progress.say(`Checking ${entry.name}`);
    if (bytes < entry.length) progress.inside(Math.floor((entry.rows * bytes) / entry.length));
    else progress.add(entry.rows);
  });
}

/** Stores the outcome, unless a later attempt has started, whose outcome is newer. */
async function storeOutcome(
  request: VerifyRequest,
  object: ListedObject,
  result: Pick<
    VerificationFacts,
    'restorable' | 'reason' | 'entities' | 'durationMs' | 'proven' | 'notProven'
  >,
): Promise<void> {
  const { key, keys, level, daemonId, store, signal, journal } = request;
  const before = result.restorable ? await readRecordOf(store, keys, object, signal) : undefined;
  if (await journal.isOvertaken()) return;
  const verifiedAt = new Date().toISOString();
  const facts = { ...result, level, daemonId, verifiedAt, ...higherLevel(before, level) };
  const record = verificationRecord(keys, object, facts);
  await store.put(verificationKey(key), `${JSON.stringify(record, null, 2)}\n`, 'application/json', signal);
  const total = progressTotal(result.entities ?? 0);
  if (result.restorable) journal.report({ message: 'Finished: VERIFY', current: total, total });
}
