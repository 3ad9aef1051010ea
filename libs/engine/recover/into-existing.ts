import { addAbortListener } from 'node:events';
import type { Manifest } from '#archive';
import { errorSentence, Failure } from '#common';
import { Secret } from '#config';
import {
  databaseProperties,
  type DatabaseProperties,
  flushLog,
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
import { noteSession } from '../shared/journal.js';
import type { RoleOptions } from './roles.js';
import type { Script, ScriptStatement } from './script.js';
import type { SelectedStatements } from './select-statements.js';

interface ExistingRequest extends BuildRequest, RoleOptions {
  database: string;
}

/**
 * Returns whether the database exists. It is then filled as it is, also for a role that could create another one: its
 * locale, tablespace and OID are its creator's choice, and PostgreSQL has no statement that drops a database only while
 * it is empty.
 * @throws Failure TARGET_REFUSED if it cannot be filled, or if it is missing and the role may not create it
 */
export async function findDatabase(
  maintenance: Session,
  request: Pick<ExistingRequest, 'archive' | 'database' | 'maintenanceUrl' | 'applicationName' | 'signal'>,
): Promise<boolean> {
  const { archive, database, maintenanceUrl, applicationName, signal } = request;
  const [found] = await maintenance.query<{ exists: boolean; creates: boolean; role: string }>(
    `SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1) AS exists, rolsuper OR rolcreatedb AS creates, rolname::text AS role
       FROM pg_roles WHERE rolname = current_user`,
    [database],
  );
  const { exists = false, creates = false, role = '' } = found ?? {};
  if (exists) {
    const url = urlOf(maintenanceUrl, database);
    const session = await Session.open(url, { applicationName, signal });
    try {
      await expectUsable(session, request);
    } finally {
      await session.close();
    }
    return true;
  }
  if (creates) return false;
  throw refused(
    `The role ${role} may not create the database ${database}.`,
    `Let a superuser run one of these: ALTER ROLE ${quoteIdentifier(role)} CREATEDB; CREATE DATABASE ${quoteIdentifier(database)} OWNER ${quoteIdentifier(role)} TEMPLATE template0 ENCODING ${quoteLiteral(encodingOf(archive.manifest))};`,
  );
}

/**
 * Recovers an archive into an empty database: on one session, in one transaction.
 * @returns things that could not be kept exactly, for people
 * @throws Failure TARGET_REFUSED if the database is not empty, or has another encoding
 */
export async function recoverIntoExisting(
  request: ExistingRequest,
  script: Script,
  statements: SelectedStatements,
  progress: RowProgress,
): Promise<string[]> {
  const { archive, maintenanceUrl, database, applicationName, journal, daemonId, signal, noOwner } = request;
  const { manifest } = archive;
  const url = urlOf(maintenanceUrl, database);
  const session = await Session.open(url, { applicationName: `${applicationName} session`, signal });
  using _listener = addAbortListener(signal, () => session.destroy());
  try {
    if (!(await takeNameLock(session, database)))
      throw refused(`Another recover fills the database ${database}.`, 'Wait for its end.');
    const live = await expectUsable(session, request);
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
    const transaction = await transactionId(session);
    const other = await Session.open(url, { applicationName: `${applicationName} look`, beside: session });
    try {
      await flushLog(other);
      if (daemonId !== undefined) await noteSession(journal, { name: applicationName, transaction });
      // This session does not see the open transaction: it finds the objects that others have created meanwhile.
      await expectEmpty(other, database);
      signal.throwIfAborted();
    } finally {
      await other.close();
    }
    await session.commit().catch(async (error: unknown) => {
      if (!(await isCommitted(transaction, url, `${applicationName} outcome`))) throw error;
    });
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

/** For a connection that breaks before the answer to COMMIT. */
async function isCommitted(transaction: string, url: string, applicationName: string): Promise<boolean> {
  const session = await Session.open(url, { applicationName });
  try {
    return (await transactionOutcome(session, transaction)) === 'committed';
  } finally {
    await session.close();
  }
}

/** @returns the properties of an empty database of the archive's encoding @throws Failure TARGET_REFUSED */
async function expectUsable(
  session: Session,
  { archive: { manifest }, database }: Pick<ExistingRequest, 'archive' | 'database'>,
): Promise<DatabaseProperties> {
  await expectEmpty(session, database);
  const live = await databaseProperties(session);
  if (live.encoding === encodingOf(manifest)) return live;
  throw refused(
    `The database ${database} has the encoding ${live.encoding}, and the archive ${encodingOf(manifest)}.`,
    'Recover into a database of the same encoding.',
  );
}

/** @throws Failure TARGET_REFUSED */
async function expectEmpty(session: Session, database: string): Promise<void> {
  if (await isEmptyDatabase(session)) return;
  throw refused(
    `The database ${database} is not empty.`,
    'Recover into an empty database, or into a new one of another name.',
  );
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
