import { randomBytes } from 'node:crypto';
import { text } from 'node:stream/consumers';
import { errorSentence, Failure, withTimeout } from '#common';
import type { ObjectStore } from './object-store.js';

/** The rights on the bucket that backups, restores and pruning need, in the order in which they are tried. */
const RIGHTS = ['put', 'get', 'list', 'abort', 'delete'] as const;
export type BucketRight = (typeof RIGHTS)[number];

/** The outcome of one trial. */
export interface TriedRight {
  right: BucketRight;
  /** The store's words; missing if it succeeded. */
  failure?: string;
}

/** People find the remains of a check by this name, if its last step failed. No list of archives shows them. */
const NAME = 'snapshotd-check-';
const CONTENT = 'A check of snapshotd wrote this object. You may delete it.\n';
/** How long the store may take for one step: milliseconds. */
const STEP_TIMEOUT_MS = 10_000;

/**
 * Tries each right on a small object below a prefix, and removes the object. A step that needs an object which could not be
 * written is not tried.
 */
export async function tryRights(
  store: ObjectStore,
  prefix: string,
  signal: AbortSignal,
): Promise<TriedRight[]> {
  const key = `${prefix}${NAME}${randomBytes(6).toString('hex')}.txt`;
  const steps: Record<BucketRight, (late: AbortSignal) => Promise<void>> = {
    put: (late) => store.put(key, CONTENT, 'text/plain', late),
    get: async (late) => {
      const object = await store.open(key, late);
      if (object === undefined || (await text(object.read(0, object.length))) !== CONTENT)
        throw new Failure(
          'STORE_REQUEST_FAILED',
          'permanent',
          `${key} does not hold the bytes just written.`,
        );
    },
    list: async (late) => {
      for await (const object of store.list(key, late)) if (object.key === key) return;
      if (!failed.has('put'))
        throw new Failure(
          'STORE_REQUEST_FAILED',
          'permanent',
          `The list does not show ${key}, just written.`,
        );
    },
    abort: async (late) => {
      const upload = await store.startUpload(key, late);
      await upload.abort();
    },
    delete: (late) => store.delete(key, late),
  };
  const failed = new Map<BucketRight, string>();
  for (const right of RIGHTS) {
    if (right === 'get' && failed.has('put')) {
      failed.set(right, 'Not tried, because no object could be written.');
      continue;
    }
    try {
      const late = () =>
        new Failure(
          'STORE_UNREACHABLE',
          'transient',
          `The object store did not answer within ${STEP_TIMEOUT_MS / 1_000} seconds.`,
        );
      await withTimeout(STEP_TIMEOUT_MS, signal, late, steps[right]);
    } catch (error) {
      if (signal.aborted || !(error instanceof Failure)) throw error;
      failed.set(right, wordsOf(error));
      // Without an answer, every further step would wait as long.
      if (error.code === 'STORE_UNREACHABLE') {
        for (const other of RIGHTS) if (!failed.has(other)) failed.set(other, wordsOf(error));
        break;
      }
    }
  }
  return RIGHTS.map((right) => {
    const failure = failed.get(right);
    return { right, ...(failure !== undefined && { failure }) };
  });
}

/** The failure with the store's error code, if its message does not show it. */
function wordsOf(error: Failure): string {
  const code = /AWS Error Code: (\w+)/.exec(error.preface ?? '')?.[1];
  const sentence = errorSentence(error);
  return code === undefined || sentence.includes(code) ? sentence : `${code}. ${sentence}`;
}
