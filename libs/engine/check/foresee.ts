import type { OpenArchive } from '#archive';
import type { RestorePreview, SwapObstacleCode } from '#contracts';
import {
  checkOwnership,
  expectAccepted,
  expectNoOwnState,
  expectPrimary,
  expectReadable,
  expectRoomForLocks,
  findMembers,
  findSwapObstacles,
  listCodeUses,
  listSuspensions,
  planEventTriggers,
  type Session,
  type Table,
} from '#postgres';
import { expectNewEnough } from '../recover/build.js';
import { findDatabase } from '../recover/into-existing.js';
import { maintenanceUrl, onMaintenance } from '../recover/maintenance.js';
import { expectRights } from '../recover/rights.js';
import { expectRoles, type RoleOptions } from '../recover/roles.js';
import { readScript } from '../recover/script.js';
import { selectStatements } from '../recover/select-statements.js';
import type { ColumnOptions } from '../restore/column-map.js';
import { furtherLocks, planRestore } from '../restore/restore-plan.js';
import type { RestoreTarget } from '../restore/table-mapping.js';
import { expectSameDatabase, type Provenance } from '../shared/archive-source.js';
import type { Repository } from '../shared/repository-session.js';
import { warnOfNewConditions } from '../verify/warnings.js';
import type { Refusals } from './refusals.js';

/** A restore as it is asked for, in place or into a new database. */
export interface ForeseeRequest extends RestoreTarget, ColumnOptions, Provenance, RoleOptions {
  repository: Repository;
  allowExtraTables: boolean;
  keepViolations?: boolean | undefined;
  fireEventTriggers: boolean;
  removeExtraLargeObjects?: boolean | undefined;
  backupFirst?: boolean | undefined;
  intoDatabase?: string | undefined;
  swap?: boolean | undefined;
  accept?: readonly SwapObstacleCode[] | undefined;
  signal: AbortSignal;
}

/** The work of a restore beyond the rows. */
export interface Foreseen {
  suspended: string[];
  columns: RestorePreview['columns']['listed'];
  warnings: string[];
}

/** Plans a restore into existing tables. @param live the tables that the rows go to, as far as they exist */
export async function foreseeInPlace(
  session: Session,
  archive: OpenArchive,
  request: ForeseeRequest,
  live: Table[],
  refusals: Refusals,
): Promise<Foreseen> {
  const { scope } = request.repository;
  await refusals.tryOut(() => expectSameDatabase(session, archive.manifest, request));
  const plan = await refusals.tryOut(() => planRestore(session, archive, { ...request, scope }));
  if (request.backupFirst === true)
    await refusals.tryOut(async () => expectReadable(session, await findMembers(session, scope)));
  if (plan === undefined) {
    await tryTheRest(session, request, live, refusals);
    return { suspended: [], columns: [], warnings: [] };
  }
  const { archived, tables, columnMaps, suspensions } = plan;
  const locks = await refusals.tryOut(() => expectRoomForLocks(session, tables, furtherLocks(plan)));
  return {
    suspended: suspensions.map(({ what }) => what),
    columns: columnMaps.map(({ table, extra, dropped }) => ({ table, added: extra, dropped })),
    warnings: [...(locks ?? []), ...(await warnOfNewConditions(session, archived, tables))],
  };
}

/** A plan ends at its first obstacle. This tries what comes after it, as far as that needs no plan. */
async function tryTheRest(
  session: Session,
  { fireEventTriggers }: ForeseeRequest,
  live: Table[],
  refusals: Refusals,
): Promise<void> {
  await refusals.tryOut(() => expectPrimary(session));
  await refusals.tryOut(async () => {
    const uses = await listCodeUses(session, live);
    const suspensions = await listSuspensions(session, live, { large: [], uses, keepViolations: false });
    await checkOwnership(session, live, suspensions);
  });
  await refusals.tryOut(() => planEventTriggers(session, ['ALTER TABLE'], fireEventTriggers));
}

/** Plans a recover into a new database beside that of the session, or in its place. */
export async function foreseeRecover(
  session: Session,
  archive: OpenArchive,
  request: ForeseeRequest & { intoDatabase: string },
  live: string,
  refusals: Refusals,
): Promise<Foreseen> {
  const { manifest } = archive;
  const { repository, intoDatabase, noOwner = false, swap = false, accept = [], signal } = request;
  await refusals.tryOut(() => expectSameDatabase(session, manifest, request));
  if (swap) await refusals.tryOut(() => expectNoOwnState(session));
  const script = await refusals.tryOut(() => readScript(archive));
  const warnings: string[] = [];
  await refusals.tryOut(() =>
    onMaintenance(repository, { applicationName: 'snapshotd check', signal }, async (maintenance) => {
      await refusals.tryOut(() => expectNewEnough(maintenance, manifest));
      await refusals.tryOut(() =>
        findDatabase(maintenance, {
          ...{ archive, database: intoDatabase, signal },
          maintenanceUrl: maintenanceUrl(repository.url),
          applicationName: 'snapshotd check',
        }),
      );
      if (script !== undefined) {
        const missing = await refusals.tryOut(() => expectRoles(maintenance, manifest, script, request));
        const selected = selectStatements(script, { ...request, missing: noOwner ? (missing ?? []) : [] });
        await refusals.tryOut(() => expectRights(maintenance, selected, manifest, request));
        // A subscription's definition may hold a password.
        warnings.push(...selected.losses.map((loss) => loss.replace(/\. Its definition: .*$/s, ')')));
      }
      if (swap)
        await refusals.tryOut(async () =>
          expectAccepted(await findSwapObstacles(maintenance, { live }), accept),
        );
    }),
  );
  return { suspended: [], columns: [], warnings };
}
