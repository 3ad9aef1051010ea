import type { Manifest } from '#archive';
import { Failure } from '#common';
import { Session } from '#postgres';
import { build, type BuildRequest, expectNewEnough } from './build.js';
import { withConstruction } from './construction.js';
import { finishDatabase } from './finish.js';
import { prepareRoles, type RoleOptions } from './roles.js';
import { selectStatements } from './select-statements.js';
import { readScript } from './script.js';
import { settleEarlierRecovers } from './takeover.js';

export interface RecoverRequest extends BuildRequest, RoleOptions {
  /** The name of the new database. */
  database: string;
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
  const { archive, database, maintenanceUrl, applicationName, journal, signal } = request;
  const { manifest } = archive;
  const script = await readScript(archive);
  return withConstruction(request, async (construction) => {
    const { maintenance, progress } = construction;
    if (await settleEarlierRecovers(maintenance, journal, request.daemonId, database))
      return summaryOf(manifest, [], []);
    if (request.endAfterSettling !== undefined) throw request.endAfterSettling;
    await expectNewEnough(maintenance, manifest);
    await expectFree(maintenance, database);
    const { missing, created } = await prepareRoles(maintenance, manifest, script, request);
    construction.createdRoles = created;
    const statements = selectStatements(script, { ...request, missing });
    const { name, losses } = await build(construction, request, script, statements);
    progress.allRows('Renaming the database');
    const again = () => Session.open(maintenanceUrl.reveal(), { applicationName, signal });
    losses.push(...(await finishDatabase(maintenance, name, request, manifest, again)));
    return summaryOf(manifest, created, losses);
  });
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

/** @throws Failure TARGET_REFUSED if the database exists */
async function expectFree(session: Session, database: string): Promise<void> {
  const rows = await session.query('SELECT FROM pg_database WHERE datname = $1', [database]);
  if (rows.length === 0) return;
  throw new Failure('TARGET_REFUSED', 'permanent', `The database ${database} exists on ${session.server}.`, {
    hint: 'Nothing was changed. Choose another name, or drop or rename that database first.',
  });
}
