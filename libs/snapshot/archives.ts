import type { ObjectStore } from '#storage';

/** Where the result of an archive's last verification is kept. */
export function verificationKey(archiveKey: string): string {
  return `${archiveKey}.verified.json`;
}

/**
 * Deletes an archive and what is kept beside it. The archive goes last: whatever fails on the way, deleting it again
 * finishes the work.
 * @throws Failure STORE_*
 */
export async function deleteArchive(store: ObjectStore, key: string, signal: AbortSignal): Promise<void> {
  await store.delete(verificationKey(key), signal);
  await store.delete(key, signal);
}
