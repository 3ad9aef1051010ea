import { addAbortListener } from 'node:events';
import type { Manifest } from '#archive';
import { Secret } from '#config';
import { Failure, runTaskGroup } from '#common';
import { createTemporaryDatabase, Session, temporaryDatabaseName } from '#postgres';
import { openParallelSession } from '../shared/parallel-sessions.js';
import { compareDefinitions, isReported } from './compare-definitions.js';
import { type BuildRequest, urlOf } from './build-request.js';
import type { Construction } from './construction.js';
import type { Workplace } from './definitions.js';
import { analyzeAndCompare, createLargeObjects, fillDatabase } from './fill.js';
import type { NotProven } from './not-proven.js';
import type { RoleOptions } from './roles.js';
import type { Script, ScriptStatement } from './script.js';
import type { SelectedStatements } from './select-statements.js';

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
  statements: SelectedStatements,
  notProven?: NotProven,
): Promise<Built> {
  const { archive, maintenanceUrl, journal, signal } = request;
  const { manifest } = archive;
  const { losses } = statements;
  const { maintenance, progress } = construction;
  const name = temporaryDatabaseName();
  construction.name = name;
  await journal.note({ database: { name } });
  progress.say('Creating the database');
  const encoding = manifest.database?.encoding ?? manifest.server.encoding;
  const locale = request.locale ?? manifest.database?.locale;
  const tablespace = await findTablespace(maintenance, manifest, losses);
  const oid = await createTemporaryDatabase(maintenance, name, { encoding, locale, tablespace });
  await journal.note({ database: { name, oid } });

  for (const one of statements.afterRename)
    notProven?.addObject(one, 'the server has it in one database only');
  await withSessions(request, name, async (sessions) => {
    const workplace: Workplace = { sessions, losses, notProven, progress, signal };
    const filled = await fillDatabase(workplace, archive, script, statements, () =>
      loadLargeObjects(request, name, workplace),
    );
    const url = new Secret(urlOf(maintenanceUrl, name));
    const noOwner = request.noOwner === true || notProven !== undefined;
    const isKnown = (statement: ScriptStatement) =>
      statements.afterRename.includes(statement) ||
      isReported(losses, statement) ||
      notProven?.has(statement) === true;
    const comparing = (session: Session, stopped: AbortSignal) =>
      compareDefinitions(session, url, archive, script, { ...request, noOwner, isKnown, signal: stopped });
    losses.push(
      ...(await sideBySide(
        workplace,
        request,
        name,
        () => analyzeAndCompare(workplace, archive, filled),
        comparing,
      )),
    );
  });
  return { name, losses };
}

/** Returns the tablespace of the database, if the server has it. It is a loss otherwise. */
async function findTablespace(
  session: Session,
  { database }: Manifest,
  losses: string[],
): Promise<string | undefined> {
  const tablespace = database?.tablespace ?? 'pg_default';
  // template0's, which needs no right unless it is named.
  if (tablespace === 'pg_default') return undefined;
  const found = await session.query(
    `SELECT FROM pg_tablespace WHERE spcname = $1 AND has_tablespace_privilege(oid, 'CREATE')`,
    [tablespace],
  );
  if (found.length > 0) return tablespace;
  losses.push(`the tablespace ${tablespace} of the database (it does not exist, or the role may not use it)`);
  return undefined;
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

/** The database is useless until its name is committed. The server or the role may set the other two. */
const SETTINGS =
  "SET synchronous_commit = off; SET default_transaction_read_only = off; SET default_transaction_isolation = 'read committed'";

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
    for (const session of sessions) await session.query(SETTINGS);
    await work(sessions);
  } finally {
    await Promise.all(sessions.map((session) => session.close()));
  }
}

/**
 * Runs work on the sessions, and beside it other work on a separate session: on the first one afterwards, if the server
 * has no connection left.
 * @returns the result of the other work
 */
async function sideBySide<Result>(
  { sessions, signal }: Workplace,
  { maintenanceUrl, applicationName }: BuildRequest,
  database: string,
  work: () => Promise<void>,
  other: (session: Session, stopped: AbortSignal) => Promise<Result>,
): Promise<Result> {
  const [leader] = sessions;
  const url = urlOf(maintenanceUrl, database);
  const place = { url, applicationName, leader, signal };
  const session = await openParallelSession(place, sessions.length + 1);
  if (session === undefined) {
    await work();
    return other(leader, signal);
  }
  using _listener = addAbortListener(signal, () => session.destroy());
  try {
    const [, result] = await runTaskGroup(signal, [work, (stopped) => other(session, stopped)]);
    return result;
  } finally {
    await session.close();
  }
}

/** In a transaction on a separate session, whose settings the definitions have not changed. */
async function loadLargeObjects(
  { archive, maintenanceUrl, applicationName, signal, noOwner }: BuildRequest & RoleOptions,
  database: string,
  { sessions, losses, notProven, progress }: Workplace,
): Promise<void> {
  if (archive.manifest.largeObjects?.metadata === undefined) return;
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
    const lost = await createLargeObjects(session, archive, roles, progress);
    await session.commit();
    if (notProven !== undefined) for (const one of lost) notProven.add(one);
    else if (noOwner !== true) losses.push(...lost);
  } finally {
    await session.close();
  }
}
