import { Failure } from '#common';
import type { Settings } from '#config';

/** S3 takes no longer keys: https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html */
export const MOST_KEY_BYTES = 1024;

/** What an administrator may call an archive: a file, also in folders, none of which begins with a dot. */
const NAME = /^([\w][\w.()+-]*\/)*[\w][\w.()+-]*\.zip$/;
/** What backups call it. */
const BACKUP_NAME = /^BackupDaemonJob\d+-\d+\.zip$/;
/** A file in the bucket, whatever its folders are called. */
const PATH = /^(?!.*(^|\/)\.{0,2}\/)(.*\/)?[\w][\w.()+-]*\.zip$/;

/**
 * Finds the key that a client means by a backupUrl, or by a name below the prefix. The address itself is never asked:
 * only a key of our own bucket, below our own prefix, can come out of this.
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
 * Whether a key is this installation's. A prefix that ends in `/`, or is empty, is a folder, and all below it belongs to
 * it. Any other one begins the names of backups: so `a` has neither what lies in `a/` and `ab/` nor the backups of `ab`.
 */
export function isBelowPrefix(key: string, settings: Pick<Settings['store'], 'prefix'>): boolean {
  const { prefix } = settings;
  return key.startsWith(prefix) && (isFolder(settings) || BACKUP_NAME.test(key.slice(prefix.length)));
}

/** What every backupUrl begins with. */
export function storeBase({ endpoint, bucket }: Pick<Settings['store'], 'endpoint' | 'bucket'>): string {
  return `${endpoint ?? 'https://s3.amazonaws.com'}/${bucket}/`;
}

function isFolder({ prefix }: Pick<Settings['store'], 'prefix'>): boolean {
  return prefix === '' || prefix.endsWith('/');
}

/** @throws Failure ARCHIVE_URL_REFUSED for what is no backupUrl of the bucket */
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
