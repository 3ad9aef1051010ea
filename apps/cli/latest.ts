import { Failure } from '#common';
import { type Archive, DEFAULT_REPOSITORY } from '#contracts';
import type { Api } from './api.js';

/** Stands for the newest archive in the place of a name. Names of archives end with .zip. */
const LATEST = 'latest';
const PAGE = 100;

/**
 * Finds the newest archive that nothing speaks against: it is readable, and no verification has found it not restorable.
 * @param repository the one whose archives count: a restore must not take another database's by chance
 * @param isVerified whether a verification must have found it restorable
 * @throws Failure NOT_FOUND
 */
export async function latestArchive(
  api: Api,
  repository = DEFAULT_REPOSITORY,
  isVerified = false,
): Promise<Archive> {
  for (let offset = 0; ; offset += PAGE) {
    const { backups, total } = await api.archives({ limit: PAGE, offset, repository });
    const latest = backups.find(
      ({ problem, restorable }) =>
        problem === null && (isVerified ? restorable === true : restorable !== false),
    );
    if (latest !== undefined) return latest;
    if (backups.length === 0 || offset + PAGE >= total) break;
  }
  throw new Failure(
    'NOT_FOUND',
    'permanent',
    isVerified
      ? `No archive of the repository ${repository} has passed a verification.`
      : `The repository ${repository} has no archive to restore.`,
    { hint: 'List all archives: snapshotd list' },
  );
}

/** Replaces the word latest by an archive's name. @throws Failure NOT_FOUND */
export async function resolveLatest(api: Api, archive: string, repository?: string): Promise<string> {
  return archive === LATEST ? (await latestArchive(api, repository)).name : archive;
}
