import { FileSource, type RangeSource } from '#archive';
import { readArchiveSettings } from '#config';
import { findLatestArchive, findStored } from '#engine';
import { Keys } from '#keys';
import { type ListedObject, ObjectStore } from '#storage';

/** The word for the newest archive among those that verified best. */
const LATEST = 'latest';
const STORED = /^s3:\/\/([^/]+)\/(.+)$/s;

/** An archive that was found and not read yet. */
export interface FoundArchive {
  /** The path of the file, or `s3://bucket/key`. */
  name: string;
  /** The reason for the choice of `latest`, for people. */
  reason: string | undefined;
  source: RangeSource;
  close(): Promise<void>;
}

/**
 * Finds an archive by the path of a file, by `s3://bucket/key`, or by the word `latest`.
 * @param tell takes a sentence when the object store begins or ceases to answer late
 * @throws Failure FILE_REFUSED, STORE_*; SettingsError
 */
export async function findArchive(
  address: string,
  tell: (text: string) => void,
  signal: AbortSignal,
): Promise<FoundArchive> {
  const [, bucket, key] = STORED.exec(address) ?? [];
  if (address !== LATEST && key === undefined) {
    const source = await FileSource.open(address);
    return { name: address, reason: undefined, source, close: () => source.close() };
  }
  const { store: settings, secretKeys } = readArchiveSettings(bucket);
  const store = new ObjectStore(settings, (trouble) =>
    tell(trouble === undefined ? 'The object store answers again.' : `Still ${trouble} ...`),
  );
  const found = (object: ListedObject, reason?: string): FoundArchive => ({
    name: `s3://${settings.bucket}/${object.key}`,
    reason,
    source: store.openListed(object, signal),
    close: () => Promise.resolve(store.close()),
  });
  try {
    if (key !== undefined) return found(await findStored(store, key, signal));
    const keys = secretKeys && new Keys(secretKeys);
    const { object, reason } = await findLatestArchive(store, settings.prefix, keys, signal);
    return found(object, reason);
  } catch (error) {
    store.close();
    throw error;
  }
}
