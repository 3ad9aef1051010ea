import type { Manifest } from '#archive';
import { Session } from '#postgres';
import { build, expectNewEnough } from './build.js';
import type { BuildRequest } from './build-request.js';
import { withConstruction } from './construction.js';
import { finishDatabase } from './finish.js';
import { findDatabase, recoverIntoExisting } from './into-existing.js';
import { createNameBound } from './name-bound.js';
import { expectRights, findKeptOwners } from './rights.js';
import { createRoles, expectRoles, type RoleOptions } from './roles.js';
import { selectStatements } from './select-statements.js';
import { shortened } from './not-proven.js';
import type { RowProgress } from '../shared/row-progress.js';
import { readScript } from './script.js';
import { settleEarlierRecovers } from './takeover.js';

export interface RecoverRequest extends BuildRequest, RoleOptions {
  /** The name of the new database. */
  database: string;
  /** Takes a sentence about losses that are certain before anything is created. */
  foreseen?: ((text: string) => void) | undefined;
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
  const { archive, database, maintenanceUrl, applicationName, journal } = request;
  const { manifest } = archive;
  const script = await readScript(archive);
  return withConstruction(request, async (construction) => {
    const { maintenance, progress } = construction;
    if (await settleEarlierRecovers(maintenance, journal, request.daemonId, database))
      return summaryOf(manifest, [], []);
    if (request.endAfterSettling !== undefined) throw request.endAfterSettling;
    await expectNewEnough(maintenance, manifest);
    const isExisting = await findDatabase(maintenance, request);
    const missing = await expectRoles(maintenance, manifest, script, request);
    const created = request.noOwner === true ? [] : missing;
    const left = request.noOwner === true ? missing : [];
    const statements = selectStatements(script, { ...request, missing: left });
    await expectRights(maintenance, statements, manifest, request);
    const foreseen = await findKeptOwners(maintenance, statements, created, manifest, request);
    if (foreseen.length > 0) tellForeseen(request, progress, shortened(foreseen));
    await createRoles(maintenance, manifest, created, request);
    construction.createdRoles = created;
    if (isExisting)
      return summaryOf(manifest, created, await recoverIntoExisting(request, script, statements, progress));
    const { name, losses } = await build(construction, request, script, statements);
    progress.allRows('Renaming the database');
    // Not by the signal: an abort meanwhile must not hide that the database is complete.
    const again = () => Session.open(maintenanceUrl.reveal(), { applicationName });
    losses.push(...(await finishDatabase(maintenance, name, request, manifest, again)));
    losses.push(...(await createNameBound(request, database, statements.afterRename, progress)));
    return summaryOf(manifest, created, losses);
  });
}

/** Before anything is created, so that you can stop and choose other options. */
function tellForeseen({ foreseen }: RecoverRequest, progress: RowProgress, losses: string[]): void {
  const text = `These objects will not get their owners: ${losses.join('; ')}. To keep owners that are superusers, use --privileged-roles ("privilegedRoles")`;
  progress.say(text);
  foreseen?.(`${text}.`);
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
