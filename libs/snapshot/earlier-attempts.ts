import { openArchive } from '#archive';
import { Failure } from '#contracts';
import type { ObjectStore } from '#storage';
import type { BackupRequest, BackupResult } from './backup.js';

/**
 * Cleans up after attempts of the same daemon that died: aborts their unfinished uploads and deletes what is
 * no whole archive. Only keys that those attempts put on record are touched, never others that look alike:
 * ids begin at 1 again after a queue was lost, and another life's archives are not ours.
 * @returns an archive that an earlier attempt had finished; the daemon's work is then done
 */
export async function clearEarlierAttempts(request: BackupRequest): Promise<BackupResult | undefined> {
  const { store, journal, daemonId, signal } = request;
  let adopted: BackupResult | undefined;
  for (const { key, uploadId } of journal.archives) {
    await store.abortUploads(key, uploadId);
    const bytes = await store.length(key, signal);
    if (bytes === undefined) continue;
    const entities = await entitiesOf(store, key, bytes, daemonId, signal);
    if (entities === undefined) await store.delete(key);
    else adopted = { key, entities, bytes };
  }
  return adopted;
}

/** @returns how many entities the archive holds, or undefined when it is not whole or not this daemon's */
async function entitiesOf(
  store: ObjectStore,
  key: string,
  length: number,
  daemonId: string,
  signal: AbortSignal,
) {
  try {
    const read = (start: number, end: number) => store.read(key, start, end, signal);
    const { manifest } = await openArchive({ length, read });
    return manifest.daemonId === daemonId ? manifest.totals.entities : undefined;
  } catch (error) {
    if (error instanceof Failure && error.code === 'ARCHIVE_INVALID') return undefined;
    throw error;
  }
}
