import { type Manifest, openArchive } from '#archive';
import { Failure } from '#contracts';
import type { StoredObject } from '#storage';
import { type BackupRequest, type BackupResult, leftOutOf } from './backup.js';

/**
 * Cleans up after attempts of the same daemon that died: aborts their unfinished uploads and deletes what is
 * no whole archive. Only keys that those attempts put on record are touched, never others that look alike:
 * ids begin at 1 again after a queue was lost, and another life's archives are not ours.
 * @returns an archive that an earlier attempt had finished
 */
export async function clearEarlierAttempts(request: BackupRequest): Promise<BackupResult | undefined> {
  const { store, journal, daemonId, signal } = request;
  let finished: BackupResult | undefined;
  for (const { key, uploadId } of journal.notes.archives) {
    await store.abortUploads(key, uploadId, signal);
    const object = await store.open(key, signal);
    if (object === undefined) continue;
    const manifest = await manifestOf(object, daemonId);
    if (manifest === undefined) await store.delete(key, signal);
    else
      finished = {
        key,
        entities: manifest.totals.entities,
        bytes: object.length,
        leftOut: leftOutOf(manifest),
      };
  }
  return finished;
}

/** @returns undefined when the archive is not whole or not this daemon's */
async function manifestOf(object: StoredObject, daemonId: string): Promise<Manifest | undefined> {
  try {
    const { manifest } = await openArchive(object);
    return manifest.daemonId === daemonId ? manifest : undefined;
  } catch (error) {
    if (error instanceof Failure && error.code === 'ARCHIVE_INVALID') return undefined;
    throw error;
  }
}
