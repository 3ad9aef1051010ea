import { Failure } from '#contracts';
import type { ObjectStore, StoredObject } from '#storage';

/** Finds an archive in the store. @throws Failure STORE_OBJECT_MISSING */
export async function openStored(
  store: ObjectStore,
  key: string,
  signal: AbortSignal,
): Promise<StoredObject> {
  const object = await store.open(key, signal);
  if (object !== undefined) return object;
  const message = `There is no archive ${key} in the bucket ${store.bucket}.`;
  throw new Failure('STORE_OBJECT_MISSING', 'permanent', message, { hint: 'Check its name.' });
}
