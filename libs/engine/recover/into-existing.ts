import { addAbortListener } from 'node:events';
import type { Manifest } from '#archive';
import { errorSentence, Failure } from '#common';
import { Secret } from '#config';
import {
  databaseProperties,
  type DatabaseProperties,
  isEmptyDatabase,
  quoteIdentifier,
  quoteLiteral,
  Session,
  takeNameLock,
  transactionId,
  transactionOutcome,
} from '#postgres';
import type { RowProgress } from '../shared/row-progress.js';
import { compareDefinitions, isReported } from './compare-definitions.js';
import { analyzeAndCompare, createLargeObjects, fillDatabase } from './fill.js';
import { setProperties } from './finish.js';
import { type BuildRequest, urlOf } from './build-request.js';
import type { RoleOptions } from './roles.js';
import type { Script, ScriptStatement } from './script.js';
import type { SelectedStatements } from './select-statements.js';

interface ExistingRequest extends BuildRequest, RoleOptions {
  database: string;
}

/**
 * Returns whether the database exists, for a role that may not create databases. Others create it.
 * @throws Failure TARGET_REFUSED
 */
export async function findEmptyDatabase(
  maintenance: Session,
  { archive, database }: Pick<ExistingRequest, 'archive' | 'database'>,
): Promise<boolean> {
  const [found] = await maintenance.query<{ exists: boolean; creates: boolean; role: string }>(
    `SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1) AS exists, rolsuper OR rolcreatedb AS creates, rolname::text AS role
       FROM pg_roles WHERE rolname = current_user`,
    [database],
  );
  const { exists = false, creates = false, role = '' } = found ?? {};
  if (exists !== creates) return exists;
  if (exists)
    throw refused(
      `The database ${database} exists on ${maintenance.server}.`,
      `Choose another name, or rename that database first. If it is empty, run: DROP DATABASE ${quoteIdentifier(database)};`,
    );
  throw refused(
    `The role ${role} may not create the database ${database}.`,
    `Let a superuser run one of these: ALTER ROLE ${quoteIdentifier(role)} CREATEDB; CREATE DATABASE ${quoteIdentifier(database)} OWNER ${quoteIdentifier(role)} TEMPLATE template0 ENCODING ${quoteLiteral(encodingOf(archive.manifest))};`,
  );
}

/**
 * Recovers an archive into an empty database, for a role that may not create databases: on one session, in one
 * transaction.
 * @returns things that could not be kept exactly, for people
 * @throws Failure TARGET_REFUSED if the database is not empty, or has another encoding
 */
export async function recoverIntoExisting(
  request: ExistingRequest,
  script: Script,
  statements: SelectedStatements,
  progress: RowProgress,
): Promise<string[]> {
  const { archive, maintenanceUrl, database, applicationName, signal, noOwner } = request;
  const { manifest } = archive;
  const url = urlOf(maintenanceUrl, database);
  const session = await Session.open(url, { applicationName: `${applicationName} session`, signal });
  using _listener = addAbortListener(signal, () => session.destroy());
  try {
    if (!(await takeNameLock(session, database)))
      throw refused(`Another recover fills the database ${database}.`, 'Wait for its end.');
    if (!(await isEmptyDatabase(session)))
      throw refused(`The database ${database} is not empty.`, 'Recover into an empty one.');
    const live = await databaseProperties(session);
    if (live.encoding !== encodingOf(manifest))
      throw refused(
        `The database ${database} has the encoding ${live.encoding}, and the archive ${encodingOf(manifest)}.`,
        'Recover into a database of the same encoding.',
      );
    const { losses } = statements;
    losses.push(...localeDifference(live, manifest));
    await session.query('BEGIN');
    const workplace = { sessions: [session] as [Session], losses, progress, signal };
    // Before the definitions change the settings of the session.
    const roles = noOwner === true ? 'none' : 'existing';
    const lost = await createLargeObjects(session, archive, roles, progress);
    if (noOwner !== true) losses.push(...lost);
    const filled = await fillDatabase(workplace, archive, script, statements, () => Promise.resolve());
    await analyzeAndCompare(workplace, archive, filled);
    progress.allRows('Setting the properties of the database');
    losses.push(...(await setProperties(session, database, manifest, noOwner === true)));
    signal.throwIfAborted();
    await commit(session, url, `${applicationName} outcome`);
    const isKnown = (statement: ScriptStatement) => isReported(losses, statement);
    const compared = { ...request, noOwner: noOwner === true, isKnown };
    // The database is complete: a fault of the comparison must not hide that.
    const differences = await compareDefinitions(session, new Secret(url), archive, script, compared).catch(
      (error: unknown) => [`the comparison of the schema definitions (${errorSentence(error)})`],
    );
    return [...losses, ...differences];
  } finally {
    await session.close();
  }
}

/** Commits. If the connection breaks before the answer, queries the outcome on another one. */
async function commit(session: Session, url: string, applicationName: string): Promise<void> {
  const transaction = await transactionId(session);
  await session.commit().catch(async (error: unknown) => {
    const other = await Session.open(url, { applicationName });
    try {
      if ((await transactionOutcome(other, transaction)) !== 'committed') throw error;
    } finally {
      await other.close();
    }
  });
}

function encodingOf({ database, server }: Manifest): string {
  return database?.encoding ?? server.encoding;
}

function localeDifference({ locale: live }: DatabaseProperties, { database }: Manifest): string[] {
  if (database === undefined) return [];
  const words = ({ provider, collate, ctype, name, icuRules }: DatabaseProperties['locale']) =>
    [provider, collate, ctype, name, icuRules].filter((part) => part !== null).join(' ');
  const [now, before] = [words(live), words(database.locale)];
  return now === before ? [] : [`the locale of the database (it was ${before}, and is ${now})`];
}

function refused(message: string, hint: string): Failure {
  return new Failure('TARGET_REFUSED', 'permanent', message, { hint: `Nothing was changed. ${hint}` });
}
