import { randomBytes } from 'node:crypto';
import { openArchive, type OpenArchive } from '#archive';
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
import { planRestore, type RestorePlanOptions, touchedTables } from '../restore/restore-plan.js';
import { nameSession } from '../shared/journal.js';
import { readToEnd } from '../restore/load-tables.js';
import { findStored } from '../shared/open-stored.js';
import { danglingKey, OTHER_BOUNDS, violatedCheck } from '../restore/refused-rows.js';
import { replaceRows } from '../restore/replace-rows.js';
import { withRepositorySession } from '../shared/repository-session.js';
import { expectSameDatabase, type Provenance } from '../shared/same-database.js';
import { firstWarnings } from './first-warnings.js';
import { warnOfNewConditions } from './new-conditions.js';
import { type VerificationFacts, verificationKey, verificationRecord } from './verification-record.js';

export interface VerifyRequest extends JobRequest, Provenance {
  /** The archive's key. */
  key: string;
  /** Sign the result. */
  keys: Keys;
  /** Whether tables that the archive does not hold may be there, as a restore could be told. */
  allowExtraTables: boolean;
  /** Whether event triggers may fire, as a restore could be told. */
  fireEventTriggers: boolean;
  /** Load the rows into scratch tables as well. */
  restoreDrill: boolean;
}

export interface VerifyResult {
  entities: number;
  /** The archive's length. */
  bytes: number;
  /** What may hinder a restore and only a restore or a drill shows. */
  warnings: string[];
}

/**
 * Reads a whole archive and checks all that a restore would check, and that it fits the repository, without
 * changing the repository. Keeps the result beside the archive.
 * @throws Failure saying what is wrong, or the signal's reason
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
    await keep(request, object, { restorable: true, entities });
    return { entities, bytes: object.bytes, warnings };
  } catch (error) {
    if (signal.aborted) throw signal.reason;
    // Damage, definitions that differ, and rows that PostgreSQL refuses say something of the archive; a network that is
    // away does not.
    if (error instanceof Failure && (OF_THE_ARCHIVE.test(error.code) || isRefusal(error)))
      await keep(request, object, { restorable: false, reason: errorSentence(error) });
    throw error;
  }
}

/** What is wrong with the archive, or with its rows in this database. */
const OF_THE_ARCHIVE = /^(ARCHIVE_.*|CHECK_VIOLATED|FOREIGN_KEY_DANGLING)$/;

/** What is wrong with the worker's role, and says nothing of the archive. */
const OF_THE_ROLE: ErrorCode[] = ['OWNERSHIP_MISSING', 'EVENT_TRIGGER', 'DATABASE_PERMISSION_DENIED'];

/** @returns warnings */
async function check(request: VerifyRequest, archive: OpenArchive): Promise<string[]> {
  const { repository, daemonId, journal, signal, restoreDrill } = request;
  const progress = new RowProgress(journal.report);
  progress.expect(archive.manifest.totals.entities);
  const applicationName = await nameSession(journal, `verify ${daemonId}`);
  // Shared, as a backup takes it: a restore that comes meanwhile waits and says so.
  const sessionOptions = { repository, applicationName, progress, signal, lock: 'shared' } as const;
  return withRepositorySession(sessionOptions, async (session, signal) => {
    await expectSameDatabase(session, archive.manifest, request);
    const { allowExtraTables, fireEventTriggers } = request;
    const options = { schemas: repository.schemas, allowExtraTables, fireEventTriggers };
    let lacking: Failure | undefined;
    const warnings: string[] = [];
    try {
      const { archived, tables, sequences } = await planRestore(session, archive.manifest, options);
      warnings.push(...(await expectRoomForLocks(session, tables, sequences.length)));
      if (!restoreDrill) warnings.push(...(await warnOfNewConditions(session, archived, tables)));
    } catch (error) {
      if (!(error instanceof Failure) || !OF_THE_ROLE.includes(error.code)) throw error;
      lacking = error;
    }
    if (restoreDrill && lacking === undefined)
      warnings.push(...(await drill(session, archive, options, progress, signal)));
    else await readRows(archive, progress, signal);
    // No restore reads them: they are for people, on the day when the database is gone.
    if (archive.manifest.definitions !== undefined)
      await readToEnd(archive, [archive.manifest.definitions], signal);
    if (lacking !== undefined)
      throw lacking.and('The archive itself was read: it is whole, and fits the tables here.');
    progress.allRows('Keeping the result');
    return warnings;
  });
}

/** Reads all rows: every entry's length and checksums are held against the manifest on the way. */
async function readRows(archive: OpenArchive, progress: RowProgress, signal: AbortSignal): Promise<void> {
  const entries = archive.manifest.tables.flatMap((table) => table.entries);
  await readToEnd(archive, entries, signal, (entry, bytes) => {
    progress.say(`Checking ${entry.name}`);
    if (bytes < entry.length) progress.inside(Math.floor((entry.rows * bytes) / entry.length));
    else progress.add(entry.rows);
  });
}

/**
 * Restores everything into copies of the live tables, in schemas that no other session ever sees: all is one
 * transaction that is rolled back, by us or by a crash.
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
  const intoSchemas = Object.fromEntries(
    archive.manifest.schemas.map((schema, index) => [schema, `${scratch}_${index + 1}`]),
  );
  await session.query('BEGIN ISOLATION LEVEL READ COMMITTED, READ WRITE');
  try {
    const options = { ...planOptions, allowExtraTables: true, intoSchemas, create: true, rollsBack: true };
    const plan = await planRestore(session, archive.manifest, options);
    // Of domains, which the live tables share. All of it is rolled back.
    const suspensions = plan.suspensions.map(({ what, relation, owned, suspend }) => ({
      what,
      relation,
      owned,
      suspend,
      reinstate: [],
    }));
    const advise = await adviseOnLocks(session, touchedTables(plan), 0);
    await replaceRows(session, archive, { ...plan, suspensions }, progress, signal).catch(advise);
    progress.allRows('Looking for violated foreign keys');
    const keys = await findViolatedKey(session, plan.scratchTables, plan.paths, plan.without);
    if (keys.violated !== undefined) throw danglingKey(keys.violated);
    progress.allRows('Looking for violated checks');
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

/** Keeps the result, unless a later attempt has begun: what that one finds is not to be replaced by what this one found before. */
async function keep(
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
