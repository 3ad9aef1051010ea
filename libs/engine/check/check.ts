import { errorSentence, Failure } from '#common';
import type { RepositoryCheck } from '#contracts';
import { type ObjectStore, tryRights } from '#storage';
import { checkDatabase, type CheckDatabaseRequest } from './check-database.js';
import { checkClock } from './clock.js';
import { Findings } from './findings.js';

export interface CheckRequest extends CheckDatabaseRequest {
  /** The repository's name. */
  name: string;
  store: ObjectStore;
  /** The beginning of the archives' keys, such as "backups/". */
  keyPrefix: string;
}

/**
 * Finds out whether a repository can be backed up, restored and recovered, and whether its bucket grants the rights for it.
 * Changes nothing but a small object, which it removes. Queries name only the catalog, so that no code of a table's owner
 * runs.
 * @throws the signal's reason
 */
export async function check(request: CheckRequest): Promise<RepositoryCheck> {
  const { name, keyPrefix, signal } = request;
  const findings = new Findings();
  const store = request.store.withoutRetries();
  const [facts] = await Promise.all([
    checkDatabase(request, findings).catch((error: unknown) => {
      if (signal.aborted || !(error instanceof Failure)) throw error;
      findings.problem('reachable', errorSentence(error));
      return undefined;
    }),
    checkBucket(store, keyPrefix, findings, signal),
  ]);
  return {
    repository: name,
    checkedOn: Date.now(),
    target: null,
    version: null,
    tls: null,
    role: null,
    bytes: null,
    estimatedRows: null,
    tables: null,
    omissions: [],
    ...facts,
    findings: findings.sorted,
  };
}

const RIGHTS = {
  put: ['bucketPut', 'write objects', 's3:PutObject'],
  get: ['bucketGet', 'read objects', 's3:GetObject'],
  list: ['bucketList', 'list objects', 's3:ListBucket'],
  abort: ['bucketAbort', 'abort uploads', 's3:AbortMultipartUpload'],
  delete: ['bucketDelete', 'delete objects', 's3:DeleteObject'],
} as const;

async function checkBucket(
  store: ObjectStore,
  prefix: string,
  findings: Findings,
  signal: AbortSignal,
): Promise<void> {
  const place = `${prefix === '' ? '' : `below ${prefix} `}in the bucket ${store.bucket}`;
  for (const { right, failure } of await tryRights(store, prefix, signal)) {
    const [kind, what, permission] = RIGHTS[right];
    if (failure === undefined) findings.ok(kind, `The worker may ${what} ${place}.`);
    else findings.problem(kind, `The worker cannot ${what} ${place} (${permission}): ${failure}`);
  }
  if (store.clockAheadMs === undefined) return;
  checkClock(findings, 'the object store', store.clockAheadMs);
  try {
    const lock = await store.objectLock(signal);
    findings.ok(
      'bucketLock',
      lock === undefined
        ? `The bucket ${store.bucket} has no Object Lock: deleted archives are gone.`
        : `The bucket ${store.bucket} has Object Lock, ${lock}: deleted archives stay there as versions.`,
    );
  } catch (error) {
    if (signal.aborted || !(error instanceof Failure)) throw error;
    findings.warning('bucketLock', `Cannot tell whether the bucket has Object Lock: ${errorSentence(error)}`);
  }
}
