import { isBelowPrefix, type ListedObject, type ObjectStore } from '#storage';
import { verificationKey } from './verification-record.js';

export interface ArchiveListing {
  archives: ListedObject[];
  /** Verification records by key, which nobody has checked yet. */
  verifications: Map<string, ListedObject>;
}

/** Lists the archives below a prefix and their verification records. @throws Failure STORE_* */
export async function listArchives(
  store: ObjectStore,
  prefix: string,
  signal: AbortSignal,
): Promise<ArchiveListing> {
  const archives: ListedObject[] = [];
  const verifications = new Map<string, ListedObject>();
  for await (const object of store.list(prefix, signal))
    if (object.key.endsWith('.zip')) {
      if (isBelowPrefix(object.key, { prefix })) archives.push(object);
    } else if (object.key.endsWith(verificationKey('.zip'))) verifications.set(object.key, object);
  return { archives, verifications };
}
