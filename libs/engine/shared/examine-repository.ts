import { addAbortListener } from 'node:events';
import { type DatabaseIdentity, type PgDumpView, type ReportProgress, type WorkerRemark } from '#contracts';
import { choosePgDump, databaseIdentity, findMembers, type RoleRights, roleRights } from '#postgres';
import { RowProgress } from './row-progress.js';
import { openSession, type Repository } from './repository-session.js';

export interface RepositoryFacts {
  identity: DatabaseIdentity;
  rights: RoleRights;
  /** Reads the schema definitions; null if none can. */
  pgDump: PgDumpView | null;
}

export interface ExamineRequest {
  /** If its `identity` is set, any other database is refused. */
  repository: Repository;
  report?: ReportProgress;
  signal: AbortSignal;
}

/**
 * Identifies the database that a repository's URL leads to, the rights of its role there, and the pg_dump that reads it.
 * @throws Failure, or the signal's reason
 */
export async function examineRepository({
  repository,
  report = () => undefined,
  signal,
}: ExamineRequest): Promise<RepositoryFacts> {
  const applicationName = 'snapshotd worker';
  const progress = new RowProgress(report);
  const session = await openSession({ repository, applicationName, progress, signal });
  using _listener = addAbortListener(signal, () => session.destroy());
  try {
    return {
      identity: await databaseIdentity(session),
      rights: await roleRights(session, await findMembers(session, repository.scope)),
      pgDump: await choosePgDump(session, repository.url.reveal()),
    };
  } catch (error) {
    throw signal.aborted ? signal.reason : error;
  } finally {
    await session.close();
  }
}

/** Remarks on a worker's role, for administrators. */
export function remarksOn({
  identity,
  rights,
}: Pick<RepositoryFacts, 'identity' | 'rights'>): WorkerRemark[] {
  const { role, superuser, more, tables, notOwned } = rights;
  const remarks: WorkerRemark[] = [];
  if (superuser)
    remarks.push({
      kind: 'SUPERUSER',
      level: 'warning',
      message: `The role ${role} is a superuser: code that belongs to the repository's tables runs with all of its rights. Let REPOSITORY_URL name a role that owns the repository's tables and nothing else.`,
    });
  if (!superuser && more.length > 0)
    remarks.push({
      kind: 'MORE_RIGHTS',
      level: 'warning',
      message: `The role ${role} has rights that a worker does not need: ${more.join(', ')}. Revoke them.`,
    });
  if (notOwned > 0)
    remarks.push({
      kind: 'BACKS_UP_ONLY',
      level: 'information',
      message: `Backs up only: restores, and verifications above READ, fail, because the role ${role} does not own ${notOwned} of ${tables} tables.`,
    });
  if (identity.systemIdentifier === null)
    remarks.push({
      kind: 'IDENTITY_UNKNOWN',
      level: 'information',
      message: `snapshotd cannot identify this database. Run: GRANT EXECUTE ON FUNCTION pg_catalog.pg_control_system() TO ${role};`,
    });
  return remarks;
}
