import { Failure } from '#common';
import type { Settings } from '#config';

/** The longest key of S3: https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html */
export const MOST_KEY_BYTES = 1024;

/** A name that an administrator may give to an archive: a file, optionally in folders. No part begins with a dot. */
const NAME = /^([\w][\w.()+-]*\/)*[\w][\w.()+-]*\.zip$/;
/** The name that a backup gives to an archive. */
const BACKUP_NAME = /^BackupDaemonJob\d+-\d+\.zip$/;
/** A file in the bucket, in folders of any name. */
const PATH = /^(?!.*(^|\/)\.{0,2}\/)(.*\/)?[\w][\w.()+-]*\.zip$/;

/**
 * Finds the key for a backupUrl, or for a name below the prefix. Nothing fetches the address itself: the result is always
 * a key of our own bucket, below our own prefix.
 * @throws Failure ARCHIVE_URL_REFUSED
 */
export function archiveKey(address: string, settings: Settings['store']): string {
  const key = NAME.test(address) ? settings.prefix + address : keyAt(address, settings);
  const bytes = Buffer.byteLength(key);
  if (bytes > MOST_KEY_BYTES) throw refused(`its key has ${bytes} bytes, and S3 takes 1024`, settings);
  if (!isBelowPrefix(key, settings))
    throw refused(
      isFolder(settings)
        ? `it does not lie below S3_PREFIX, which is ${settings.prefix}`
        : `S3_PREFIX is ${settings.prefix}, without a / at its end: only ${settings.prefix}BackupDaemonJob….zip can be meant`,
      settings,
    );
  if (!NAME.test(key.slice(settings.prefix.length)))
    throw refused('its folders may hold letters, digits and _.()+- only', settings);
  return key;
}

/**
 * Whether a key belongs to this installation. A prefix that ends in `/`, or is empty, is a folder, and owns all keys below
 * it. Any other prefix begins the names of backups: so `a` owns neither keys in `a/` and `ab/` nor the backups of `ab`.
 */
export function isBelowPrefix(key: string, settings: Pick<Settings['store'], 'prefix'>): boolean {
  const { prefix } = settings;
  return key.startsWith(prefix) && (isFolder(settings) || BACKUP_NAME.test(key.slice(prefix.length)));
}

/** The beginning of every backupUrl. */
export function storeBase({ endpoint, bucket }: Pick<Settings['store'], 'endpoint' | 'bucket'>): string {
  return `${endpoint ?? 'https://s3.amazonaws.com'}/${bucket}/`;
}

function isFolder({ prefix }: Pick<Settings['store'], 'prefix'>): boolean {
  return prefix === '' || prefix.endsWith('/');
}

/** The key of a backupUrl of the bucket. @throws Failure ARCHIVE_URL_REFUSED for any other address */
function keyAt(address: string, settings: Settings['store']): string {
  const refuse = (reason: string) => refused(reason, settings);
  if (/\p{Cc}/u.test(address)) throw refuse('it holds a control character');
  if (!URL.canParse(address)) throw refuse('it is neither a URL nor the name of a .zip file');
  const base = storeBase(settings);
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
  if (/\p{Cc}/u.test(key)) throw refuse('it holds a control character');
  if (!PATH.test(key)) throw refuse('its path leads to no .zip file in the bucket');
  return key;
}

function refused(reason: string, settings: Settings['store']): Failure {
  return new Failure('ARCHIVE_URL_REFUSED', 'permanent', `The url is refused: ${reason}.`, {
    hint: `Give a backupUrl (${storeBase(settings)}${settings.prefix}…) or the bare name of a .zip file in the bucket.`,
  });
}
