import { Failure } from '#contracts';
import type { Settings } from '#config';

/** What our own archives' names consist of, and what an administrator may rename them to. */
const FILE_NAME = /^[\w][\w.()+-]*\.zip$/;
/** The same in folders below the prefix, none of which begins with a dot. */
const PATH = /^([\w][\w.()+-]*\/)*[\w][\w.()+-]*\.zip$/;

/**
 * Finds the key that a client means by a backupUrl, or by the name of a file below the prefix. The address
 * itself is never asked: only a key of our own bucket can come out of this.
 * @throws Failure ARCHIVE_URL_REFUSED
 */
export function archiveKey(address: string, settings: Settings['store']): string {
  if (PATH.test(address)) return settings.prefix + address;
  const base = storeBase(settings);
  const refuse = (reason: string) =>
    new Failure('ARCHIVE_URL_REFUSED', 'permanent', `The url is refused: ${reason}.`, {
      hint: `Give a backupUrl (${base}…) or the bare name of a .zip file in the bucket.`,
    });
  if (!URL.canParse(address)) throw refuse('it is neither a URL nor the name of a .zip file');
  const url = new URL(address);
  if (url.username !== '' || url.password !== '') throw refuse('it holds credentials');
  if (url.search !== '' || url.hash !== '') throw refuse('it has a query or a fragment');
  if (!address.startsWith(base)) throw refuse('it leads to another host or bucket');
  let key: string;
  try {
    key = decodeURIComponent(address.slice(base.length));
  } catch {
    throw refuse('its percent-encoding is broken');
  }
  // Neither S3 nor the queue takes NUL.
  if (key.includes('\0')) throw refuse('it holds a NUL character');
  const segments = key.split('/');
  const name = segments.at(-1) ?? '';
  if (segments.slice(0, -1).some((segment) => ['', '.', '..'].includes(segment)) || !FILE_NAME.test(name))
    throw refuse('its path leads to no .zip file in the bucket');
  return key;
}

/** What every backupUrl begins with. */
export function storeBase({ endpoint, bucket }: Settings['store']): string {
  return `${endpoint ?? 'https://s3.amazonaws.com'}/${bucket}/`;
}
