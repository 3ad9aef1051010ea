import { type Manifest, openArchive } from '#archive';
import { Failure } from '#common';
import type { StoredObject } from '#storage';
import { notedArchives } from '../shared/journal.js';
import { type BackupRequest, type BackupResult, resultOf } from './backup-request.js';

/**
 * Cleans up after earlier attempts of the same job: aborts their multipart uploads and deletes incomplete archives.
 * Touches only keys that those attempts recorded: job ids start at 1 again after the queue was lost, so a similar name
 * can belong to another job.
 * @returns the archive that an earlier attempt completed; of several only the last is kept
 */
export async function takeOverArchives(request: BackupRequest): Promise<BackupResult | undefined> {
  const { store, journal, daemonId, keyPrefix, signal } = request;
  let finished: BackupResult | undefined;
  for (const { key, uploadId } of notedArchives(journal, daemonId, keyPrefix)) {
    await store.abortUploads(key, uploadId, signal);
    const object = await store.open(key, signal);
    if (object === undefined) continue;
    const manifest = await manifestOf(object, daemonId);
    if (manifest === undefined) await store.delete(key, signal);
    else {
      if (finished !== undefined) await store.delete(finished.key, signal);
      finished = { key, ...resultOf(manifest), bytes: object.length };
    }
  }
  return finished;
}

/** @returns undefined if the archive is incomplete or another job's */
async function manifestOf(object: StoredObject, daemonId: string): Promise<Manifest | undefined> {
  try {
    const { manifest } = await openArchive(object);
    return manifest.daemonId === daemonId ? manifest : undefined;
  } catch (error) {
    if (error instanceof Failure && error.code === 'ARCHIVE_INVALID') return undefined;
    throw error;
  }
}
