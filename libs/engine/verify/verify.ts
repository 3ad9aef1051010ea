import { randomBytes } from 'node:crypto';
import { type Manifest, openArchive, type OpenArchive, otherFiles } from '#archive';
import { type ErrorCode, errorSentence, Failure, progressTotal } from '#common';
import type { Keys } from '#keys';
import {
  adviseOnLocks,
  expectRoomForLocks,
  findViolatedCheck,
  findViolatedKey,
  isCheckViolation,
  isRefusal,
  type Session,
} from '#postgres';
import type { ListedObject } from '#storage';
import type { JobRequest } from '../shared/job-request.js';
import { RowProgress } from '../shared/row-progress.js';
import { endSessionsOfEarlierAttempts } from '../shared/takeover.js';
import { checkLargeObjects, drillLargeObjects } from '../restore/large-objects.js';
import {
  furtherLocks,
  planRestore,
  type RestorePlanOptions,
  touchedTables,
} from '../restore/restore-plan.js';
import { schemasOf } from '../restore/live-relations.js';
import { type ColumnOptions, describeColumns } from '../restore/column-map.js';
import { nameSession } from '../shared/journal.js';
import { readToEnd } from '../restore/load-tables.js';
import { expectSameDatabase, findStored, type Provenance } from '../shared/archive-source.js';
import { danglingKey, OTHER_BOUNDS, violatedCheck } from '../restore/refused-rows.js';
import { replaceRows } from '../restore/replace-rows.js';
import { withRepositorySession } from '../shared/repository-session.js';
import { firstWarnings, warnOfNewConditions } from './warnings.js';
import { type VerificationFacts, verificationKey, verificationRecord } from './verification-record.js';

export interface VerifyRequest extends JobRequest, ColumnOptions, Provenance {
  /** The archive's key. */
  key: string;
  /** Keys that sign the record. */
  keys: Keys;
  /** Accept tables that the archive does not hold, as the restore option does. */
  allowExtraTables: boolean;
  /** Accept that event triggers fire, as the restore option does. */
  fireEventTriggers: boolean;
  /** Also load the rows into scratch tables. */
  restoreDrill: boolean;
}

export interface VerifyResult {
  entities: number;
  /** The archive's length. */
  bytes: number;
  /** Contents that the archive does not hold. */
  archiveOmits: Manifest['leftOut'];
  /** Possible obstacles to a restore that only a restore or a drill proves. */
  warnings: string[];
}

/**
 * Reads a whole archive and checks everything that a restore checks, without changing the repository. Stores the outcome
 * beside the archive.
 * @throws Failure that names the fault, or the signal's reason
 */
export async function verify(request: VerifyRequest): Promise<VerifyResult> {
  const { key, store, signal, journal } = request;
  await endSessionsOfEarlierAttempts(request, new RowProgress(journal.report));
  if (request.endAfterSettling !== undefined) throw request.endAfterSettling;
  journal.report({ message: `Opening the archive ${key}`, current: 0, total: 0 });
  const object = await findStored(store, key, signal);
  try {
    const archive = await openArchive(store.openListed(object, signal));
    const warnings = await check(request, archive);
    const { entities } = archive.manifest.totals;
    await storeOutcome(request, object, { restorable: true, entities });
    return { entities, bytes: object.bytes, archiveOmits: archive.manifest.leftOut, warnings };
  } catch (error) {
    if (signal.aborted) throw signal.reason;
    // Damage, differing definitions and rows that PostgreSQL refuses are faults of the archive. Network errors are not.
    if (error instanceof Failure && (ARCHIVE_FAULTS.test(error.code) || isRefusal(error)))
      await storeOutcome(request, object, { restorable: false, reason: errorSentence(error) });
    throw error;
  }
}

/** Faults of the archive, or of its rows in this database. */
const ARCHIVE_FAULTS = /^(ARCHIVE_.*|CHECK_VIOLATED|FOREIGN_KEY_DANGLING)$/;

/** Faults of the worker's role, which do not concern the archive. */
const ROLE_FAULTS: ErrorCode[] = ['OWNERSHIP_MISSING', 'EVENT_TRIGGER', 'DATABASE_PERMISSION_DENIED'];

/** @returns warnings */
async function check(request: VerifyRequest, archive: OpenArchive): Promise<string[]> {
  const { repository, daemonId, journal, signal, restoreDrill } = request;
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
    try {
      const plan = await planRestore(session, archive, options);
      const { archived, tables, columnMaps } = plan;
      warnings.push(...describeColumns(columnMaps));
      warnings.push(...(await expectRoomForLocks(session, tables, furtherLocks(plan))));
      if (!restoreDrill) warnings.push(...(await warnOfNewConditions(session, archived, tables)));
    } catch (error) {
      if (!(error instanceof Failure) || !ROLE_FAULTS.includes(error.code)) throw error;
      lacking = error;
    }
    if (restoreDrill && lacking === undefined)
      warnings.push(...(await drill(session, archive, options, progress, ended)));
    else {
      await readRows(archive, progress, ended);
      await checkLargeObjects(archive, progress);
    }
    // Restores do not read the schema definitions and the roles. They are for recovering a lost database.
    await readToEnd(archive, otherFiles(archive.manifest), ended);
    if (lacking !== undefined)
      throw lacking.and('The archive itself was read: it is complete and fits the tables here.');
    progress.allRows('Storing the outcome');
    return warnings;
  });
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

/**
 * Restores everything into scratch tables in one transaction that is always rolled back, so that no other session ever
 * sees them.
 * @returns warnings
 */
async function drill(
  session: Session,
  archive: OpenArchive,
  planOptions: RestorePlanOptions,
  progress: RowProgress,
  signal: AbortSignal,
): Promise<string[]> {
  const scratch = `snapshotd_drill_${randomBytes(6).toString('hex')}`;
  const configuration = archive.manifest.configuration?.tables ?? [];
  const all = new Set([...schemasOf(archive.manifest), ...configuration.map(({ schema }) => schema)]);
  const intoSchemas = Object.fromEntries(
    [...all].map((schema, index) => [schema, `${scratch}_${index + 1}`]),
  );
  await session.query('BEGIN ISOLATION LEVEL READ COMMITTED, READ WRITE');
  try {
    const options = { ...planOptions, allowExtraTables: true, intoSchemas, create: true, rollsBack: true };
    const plan = await planRestore(session, archive, options);
    // These belong to domains, which the live tables share. The rollback reinstates them.
    const suspensions = plan.suspensions.map(({ what, relation, owned, suspend }) => ({
      what,
      relation,
      owned,
      suspend,
      reinstate: [],
    }));
    const advise = await adviseOnLocks(session, touchedTables(plan), 0);
    await drillLargeObjects(session, archive, progress);
    await replaceRows(session, archive, { ...plan, suspensions }, progress, signal).catch(advise);
    progress.allRows('Checking foreign keys');
    const keys = await findViolatedKey(session, plan.scratchTables, plan.paths, plan.without);
    if (keys.violated !== undefined) throw danglingKey(keys.violated);
    progress.allRows('Checking check constraints');
    const checks = await findViolatedCheck(session, plan.scratchTables, plan.paths, plan.without);
    if (checks.violated !== undefined) {
      const { what, isBounds, failure } = checks.violated;
      if (!isCheckViolation(failure)) throw failure.and(`It comes from ${what}.`);
      throw violatedCheck(what, { hint: isBounds ? OTHER_BOUNDS : undefined, cause: failure });
    }
    return firstWarnings(
      [...keys.untried, ...checks.untried].map(
        (what) => `The drill did not hold the archived rows against ${what}`,
      ),
      (more) => `Nor did it against ${more} more keys, checks or bounds.`,
    );
  } finally {
    await session.query('ROLLBACK').catch(() => session.destroy());
  }
}

/** Stores the outcome, unless a later attempt has started, whose outcome is newer. */
async function storeOutcome(
  request: VerifyRequest,
  object: ListedObject,
  result: Pick<VerificationFacts, 'restorable' | 'reason' | 'entities'>,
): Promise<void> {
  const { key, keys, restoreDrill, daemonId, store, signal, journal } = request;
  if (await journal.isOvertaken()) return;
  const verifiedAt = new Date().toISOString();
  const record = verificationRecord(keys, object, { ...result, restoreDrill, daemonId, verifiedAt });
  await store.put(verificationKey(key), `${JSON.stringify(record, null, 2)}\n`, 'application/json', signal);
  const total = progressTotal(result.entities ?? 0);
  if (result.restorable) journal.report({ message: 'Finished: VERIFY', current: total, total });
}
