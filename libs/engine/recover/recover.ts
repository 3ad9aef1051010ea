import { addAbortListener } from 'node:events';
import { Secret } from '#config';
import { errorSentence, Failure } from '#common';
import type { Journal } from '#contracts';
import { type Manifest, type OpenArchive } from '#archive';
import {
  createTemporaryDatabase,
  displayServer,
  dropTemporaryDatabase,
  expectOwnBackend,
  expectPrimary,
  Session,
  temporaryDatabaseName,
} from '#postgres';
import { restoreLargeObjects } from '../restore/large-objects.js';
import { openParallelSession } from '../shared/parallel-sessions.js';
import { RowProgress } from '../shared/row-progress.js';
import { compareContents, compareGenerated } from './compare.js';
import { compareDefinitions } from './compare-definitions.js';
import { runAfterRows, runBeforeRows, type Workplace } from './definitions.js';
import { finishDatabase } from './finish.js';
import { loadConfiguration } from './load-configuration.js';
import { loadRows } from './load-rows.js';
import { analyzeAll, refreshViews, setAll } from './after-rows.js';
import { loadRefused } from './refused-tables.js';
import { prepareRoles, type RoleOptions } from './roles.js';
import { selectStatements } from './select-statements.js';
import { readScript } from './script.js';
import { settleEarlierRecovers } from './takeover.js';

export interface RecoverRequest extends RoleOptions {
  archive: OpenArchive;
  /** The server, with the database that exists before: usually `postgres`. */
  maintenanceUrl: Secret;
  /** The name of the new database. */
  database: string;
  /** A libc locale in place of the archived one. */
  locale?: string | undefined;
  /** The most sessions. */
  parallelJobs: number;
  /** Shown in pg_stat_activity. */
  applicationName: string;
  journal: Journal;
  /** The job whose earlier attempts the journal may name; missing for the command line. */
  daemonId?: string | undefined;
  /** For a job that ended between its attempts: thrown once their remains are removed. */
  endAfterSettling?: Failure | undefined;
  signal: AbortSignal;
}

/** The contents of the new database. */
export interface RecoverResult {
  schemas: number;
  tables: number;
  entities: number;
  largeObjects: number;
  /** The roles that were created. They, losses and omissions are unknown if an earlier attempt completed the database. */
  createdRoles: string[];
  /** Things that could not be kept exactly, each with the reason, for people. */
  losses: string[];
  /** Contents of the original database that the archive does not hold. */
  archiveOmits: Manifest['leftOut'];
}

/**
 * Builds a database from an archive alone. It has a temporary name until it is complete and equals the archive; a failure
 * leaves nothing but created roles behind.
 * @throws Failure, or the signal's reason
 */
export async function recover(request: RecoverRequest): Promise<RecoverResult> {
  const { archive, maintenanceUrl, applicationName, journal, signal } = request;
  const { manifest } = archive;
  const progress = new RowProgress(journal.report, false);
  progress.expect(manifest.totals.entities);
  progress.say('Reading schema definitions');
  const script = await readScript(archive);
  const maintenance = await Session.open(maintenanceUrl.reveal(), { applicationName, signal });
  let name: string | undefined;
  let createdRoles: string[] = [];
  try {
    using _listener = addAbortListener(signal, () => maintenance.destroy());
    await expectPrimary(maintenance);
    await expectOwnBackend(maintenance.client, maintenanceUrl.reveal(), 'the URL');
    if (await settleEarlierRecovers(maintenance, journal, request.daemonId, request.database)) {
      await maintenance.close();
      return summaryOf(manifest, [], []);
    }
    if (request.endAfterSettling !== undefined) throw request.endAfterSettling;
    await expectNewEnough(maintenance, manifest);
    await expectFree(maintenance, request.database);
    const { missing, created } = await prepareRoles(maintenance, manifest, script, request);
    createdRoles = created;
    const { beforeRows, afterRows, eventTriggers, losses } = selectStatements(script, request, missing);

    name = temporaryDatabaseName();
    await journal.note({ database: { name } });
    progress.say('Creating the database');
    const encoding = manifest.database?.encoding ?? manifest.server.encoding;
    const locale = request.locale ?? manifest.database?.locale;
    const oid = await createTemporaryDatabase(maintenance, name, { encoding, locale });
    await journal.note({ database: { name, oid } });

    await withSessions(request, name, async (sessions) => {
      const workplace: Workplace = { sessions, losses, progress, signal };
      await runBeforeRows(workplace, beforeRows);
      const { refused, columns } = await loadRows(sessions, archive, progress, signal);
      await setAll(sessions[0], manifest.sequences);
      await loadConfiguration(workplace, archive);
      await loadLargeObjects(request, name ?? '', workplace);
      await suppressTriggers(sessions);
      await runAfterRows(workplace, afterRows, () => loadRefused(workplace, archive, refused));
      await refreshViews(workplace, manifest, script);
      await runAfterRows(workplace, eventTriggers, () => Promise.resolve());
      progress.allRows('Collecting planner statistics');
      await analyzeAll(workplace);
      progress.allRows('Comparing the database with the archive');
      losses.push(...(await compareGenerated(sessions[0], columns)));
      await compareContents(workplace, archive);
      const url = new Secret(urlOf(maintenanceUrl, name ?? ''));
      losses.push(...(await compareDefinitions(sessions[0], url, archive, script, { ...request, losses })));
    });
    progress.allRows('Renaming the database');
    losses.push(
      ...(await finishDatabase(maintenance, name, request, manifest, () =>
        Session.open(maintenanceUrl.reveal(), { applicationName, signal }),
      )),
    );
    await maintenance.close();
    return summaryOf(manifest, createdRoles, losses);
  } catch (error) {
    const cause: unknown = signal.aborted ? signal.reason : error;
    maintenance.destroy();
    const left = name === undefined ? undefined : await drop(request, name);
    const remains = [
      ...(createdRoles.length > 0 ? [`The created roles stay: ${createdRoles.join(', ')}.`] : []),
      ...(left === undefined ? [] : [left]),
    ];
    throw cause instanceof Failure && remains.length > 0 ? cause.and(remains.join(' ')) : cause;
  }
}

function summaryOf(manifest: Manifest, createdRoles: string[], losses: string[]): RecoverResult {
  const { tables, totals, leftOut } = manifest;
  return {
    schemas: new Set(tables.map(({ schema }) => schema)).size,
    tables: totals.tables,
    entities: totals.entities,
    largeObjects: totals.largeObjects?.objects ?? 0,
    createdRoles,
    losses,
    archiveOmits: leftOut,
  };
}

/** Refuses servers that are older than the archive's. @throws Failure TARGET_REFUSED */
async function expectNewEnough(session: Session, { server }: Manifest): Promise<void> {
  const [row] = await session.query<{ version: string }>(
    `SELECT current_setting('server_version') AS version`,
  );
  const version = row?.version ?? '';
  if (parseInt(version) >= parseInt(server.version)) return;
  throw new Failure(
    'TARGET_REFUSED',
    'permanent',
    `The server runs PostgreSQL ${version}, and the archive comes from ${server.version}.`,
    { hint: `Nothing was changed. Recover to a server of version ${parseInt(server.version)} or newer.` },
  );
}

/** @throws Failure TARGET_REFUSED if the database exists */
async function expectFree(session: Session, database: string): Promise<void> {
  const rows = await session.query('SELECT FROM pg_database WHERE datname = $1', [database]);
  if (rows.length === 0) return;
  throw new Failure('TARGET_REFUSED', 'permanent', `The database ${database} exists on ${session.server}.`, {
    hint: 'Nothing was changed. Choose another name, or drop or rename that database first.',
  });
}

/** Runs work on sessions with the new database, which are closed at the end, and at once when the signal is aborted. */
async function withSessions(
  { maintenanceUrl, parallelJobs, applicationName, signal }: RecoverRequest,
  database: string,
  work: (sessions: [Session, ...Session[]]) => Promise<void>,
): Promise<void> {
  const url = urlOf(maintenanceUrl, database);
  const leader = await Session.open(url, { applicationName, signal });
  const sessions: [Session, ...Session[]] = [leader];
  using _listener = addAbortListener(signal, () => sessions.forEach((session) => session.destroy()));
  try {
    for (let number = 2; number <= parallelJobs; number++) {
      const session = await openParallelSession({ url, applicationName, leader, signal }, number);
      if (session === undefined) break;
      sessions.push(session);
    }
    for (const session of sessions) await session.query('SET synchronous_commit = off');
    await work(sessions);
  } finally {
    await Promise.all(sessions.map((session) => session.close()));
  }
}

/** The same server with another database. */
export function urlOf(url: Secret, database: string): string {
  const other = new URL(url.reveal());
  other.pathname = `/${encodeURIComponent(database)}`;
  return other.href;
}

/** In a transaction on a session of its own, whose settings the definitions have not changed. */
async function loadLargeObjects(
  { archive, maintenanceUrl, applicationName, signal, noOwner }: RecoverRequest,
  database: string,
  { sessions, losses, progress }: Workplace,
): Promise<void> {
  const { largeObjects } = archive.manifest;
  if (largeObjects?.metadata === undefined) return;
  const name = `${applicationName} large objects`;
  const session = await Session.open(urlOf(maintenanceUrl, database), {
    applicationName: name,
    signal,
    beside: sessions[0],
  });
  using _listener = addAbortListener(signal, () => session.destroy());
  try {
    await session.query('BEGIN');
    const plan = { archived: largeObjects, extra: 0, removeExtra: false, locks: 0, statements: [] };
    const lost = await restoreLargeObjects(session, archive, plan, progress);
    await session.commit();
    if (noOwner !== true) losses.push(...lost);
  } finally {
    await session.close();
  }
}

/** Event triggers of extensions, and keys, exist by now. Only a superuser may silence them. */
async function suppressTriggers(sessions: Session[]): Promise<void> {
  for (const session of sessions)
    await session.query(`SET session_replication_role = replica`).catch((error: unknown) => {
      if (!(error instanceof Failure) || error.code !== 'DATABASE_PERMISSION_DENIED') throw error;
    });
}

/** Drops an unfinished database. @returns a sentence if it is still there */
async function drop(
  { maintenanceUrl, applicationName }: RecoverRequest,
  name: string,
): Promise<string | undefined> {
  const signal = AbortSignal.timeout(DROP_TIMEOUT_MS);
  const left = `The unfinished database ${name} is left on ${displayServer(maintenanceUrl.reveal())}: snapshotd recover --clean-up drops it.`;
  try {
    const session = await Session.open(maintenanceUrl.reveal(), {
      applicationName: `${applicationName} clean-up`,
      signal,
    });
    using _listener = addAbortListener(signal, () => session.destroy());
    try {
      return (await dropTemporaryDatabase(session, name)) ? undefined : left;
    } finally {
      await session.close();
    }
  } catch (error) {
    return `${left} (${errorSentence(error)})`;
  }
}

const DROP_TIMEOUT_MS = 30_000;
