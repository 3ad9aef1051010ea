import type { ObjectStore } from '#storage';
import { verificationKey } from './verification-record.js';

/**
 * Deletes an archive and what is kept beside it. The archive goes last: whatever fails on the way, deleting it again
 * finishes the work.
 * @throws Failure STORE_*
 */
export async function deleteArchive(store: ObjectStore, key: string, signal: AbortSignal): Promise<void> {
  await store.delete(verificationKey(key), signal);
  await store.delete(key, signal);
}
