import { Failure } from '#common';
import type { ListedObject, ObjectStore, StoredObject } from '#storage';

/** Finds an archive in the store. @throws Failure STORE_OBJECT_MISSING */
export async function findStored(
  store: ObjectStore,
  key: string,
  signal: AbortSignal,
): Promise<ListedObject> {
  const object = await store.find(key, signal);
  if (object !== undefined) return object;
  const message = `There is no archive ${key} in the bucket ${store.bucket}.`;
  throw new Failure('STORE_OBJECT_MISSING', 'permanent', message, { hint: 'Check its name.' });
}

/** Finds an archive in the store, to be read by range. @throws Failure STORE_OBJECT_MISSING */
export async function openStored(
  store: ObjectStore,
  key: string,
  signal: AbortSignal,
): Promise<StoredObject> {
  return store.openListed(await findStored(store, key, signal), signal);
}
