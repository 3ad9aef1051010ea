import { addAbortListener } from 'node:events';
import type { Manifest, OpenArchive } from '#archive';
import { Secret } from '#config';
import { Failure } from '#common';
import type { Journal } from '#contracts';
import { createTemporaryDatabase, Session, temporaryDatabaseName } from '#postgres';
import { type LargeObjectPlan, restoreLargeObjects } from '../restore/large-objects.js';
import { openParallelSession } from '../shared/parallel-sessions.js';
import { analyzeAll, refreshViews, setAll } from './after-rows.js';
import { compareContents, compareGenerated } from './compare.js';
import { compareDefinitions } from './compare-definitions.js';
import type { Construction } from './construction.js';
import { runAfterRows, runBeforeRows, type Workplace } from './definitions.js';
import { loadConfiguration } from './load-configuration.js';
import { loadRows } from './load-rows.js';
import { loadRefused } from './refused-tables.js';
import type { NotProven } from './not-proven.js';
import type { RoleOptions } from './roles.js';
import { describe, type Script, type ScriptStatement } from './script.js';
import type { SelectedStatements } from './select-statements.js';

/** A database to build from an archive. */
export interface BuildRequest {
  archive: OpenArchive;
  /** The server, with the database that exists before: usually `postgres`. */
  maintenanceUrl: Secret;
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

export interface Built {
  /** Its temporary name. */
  name: string;
  /** Things that could not be kept exactly, each with the reason, for people. */
  losses: string[];
}

/**
 * Creates a database under a temporary name, fills it, and compares it with the archive.
 * @param options notProven collects statements that the role may not run, if that is no failure
 * @throws Failure, or the signal's reason
 */
export async function build(
  construction: Construction,
  request: BuildRequest & RoleOptions,
  script: Script,
  { beforeRows, afterRows, eventTriggers, losses }: SelectedStatements,
  notProven?: NotProven,
): Promise<Built> {
  const { archive, maintenanceUrl, journal, signal } = request;
  const { manifest } = archive;
  const { maintenance, progress } = construction;
  const name = temporaryDatabaseName();
  construction.name = name;
  await journal.note({ database: { name } });
  progress.say('Creating the database');
  const encoding = manifest.database?.encoding ?? manifest.server.encoding;
  const locale = request.locale ?? manifest.database?.locale;
  const oid = await createTemporaryDatabase(maintenance, name, { encoding, locale });
  await journal.note({ database: { name, oid } });

  await withSessions(request, name, async (sessions) => {
    const workplace: Workplace = { sessions, losses, notProven, progress, signal };
    await runBeforeRows(workplace, beforeRows);
    const { loaded, refused, columns } = await loadRows(workplace, archive);
    const sequences = await setAll(workplace, manifest.sequences);
    await loadConfiguration(workplace, archive);
    await loadLargeObjects(request, name, workplace);
    await suppressTriggers(sessions);
    await runAfterRows(workplace, afterRows, () => loadRefused(workplace, archive, refused));
    await refreshViews(workplace, manifest, script);
    await runAfterRows(workplace, eventTriggers, () => Promise.resolve());
    progress.allRows('Collecting planner statistics');
    await analyzeAll(workplace);
    progress.allRows('Comparing the database with the archive');
    losses.push(...(await compareGenerated(sessions[0], columns)));
    await compareContents(workplace, archive, { tables: loaded, sequences });
    const url = new Secret(urlOf(maintenanceUrl, name));
    const noOwner = request.noOwner === true || notProven !== undefined;
    const isKnown = (statement: ScriptStatement) =>
      losses.some((loss) => loss.startsWith(`${describe(statement)} (`)) ||
      notProven?.has(statement) === true;
    const options = { ...request, noOwner, isKnown };
    losses.push(...(await compareDefinitions(sessions[0], url, archive, script, options)));
  });
  return { name, losses };
}

/** Refuses servers that are older than the archive's. @throws Failure TARGET_REFUSED */
export async function expectNewEnough(session: Session, { server }: Manifest): Promise<void> {
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

/** Runs work on sessions with the new database, which are closed at the end, and at once when the signal is aborted. */
async function withSessions(
  { maintenanceUrl, parallelJobs, applicationName, signal }: BuildRequest,
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
  { archive, maintenanceUrl, applicationName, signal, noOwner }: BuildRequest & RoleOptions,
  database: string,
  { sessions, losses, notProven, progress }: Workplace,
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
    const roles = noOwner === true ? 'none' : notProven === undefined ? 'existing' : 'own';
    const plan: LargeObjectPlan = {
      archived: largeObjects,
      extra: 0,
      removeExtra: false,
      locks: 0,
      statements: [],
      roles,
    };
    const lost = await restoreLargeObjects(session, archive, plan, progress);
    await session.commit();
    if (notProven !== undefined) for (const one of lost) notProven.add(one);
    else if (noOwner !== true) losses.push(...lost);
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
