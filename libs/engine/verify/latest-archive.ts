import { Failure, grouped } from '#common';
import { VERIFICATION_LEVELS } from '#contracts';
import type { Keys } from '#keys';
import type { ListedObject, ObjectStore } from '#storage';
import { listArchives } from './list-archives.js';
import { isRecordOf, levelReached, readVerification, verificationKey } from './verification-record.js';

/** Records that are read at once. */
const AT_ONCE = 16;

/** The folders that a message names. */
const NAMED_FOLDERS = 10;

/** The proofs that an archive is good, from the worst to the best. */
const PROOFS = ['failed', 'none', ...VERIFICATION_LEVELS] as const;
type Proof = (typeof PROOFS)[number];

const WORDS: Record<Proof, string> = {
  failed: 'failed its verification',
  none: 'has no valid verification record',
  READ: 'was verified at the level READ',
  FIT: 'was verified at the level FIT',
  DRILL: 'passed a drill',
};

interface Candidate {
  object: ListedObject;
  proof: Proof;
}

export interface LatestArchive {
  object: ListedObject;
  /** The reason for the choice, for people. */
  reason: string;
}

/**
 * The archives directly below the prefix, or those of its only folder: the archives of each repository but the default one
 * lie in a folder, and the newest archive of all may be one of another database.
 * @throws Failure REQUEST_REFUSED if there are several folders and nothing else
 */
function ofOneRepository(
  { bucket }: ObjectStore,
  prefix: string,
  all: ListedObject[],
): { archives: ListedObject[]; others: string } {
  const byFolder = grouped(all, ({ key }) => key.slice(prefix.length).replace(/[^/]*$/, ''));
  const folders = [...byFolder.keys()].filter((folder) => folder !== '').sort();
  const [only, ...rest] = folders;
  const direct = byFolder.get('');
  const named = folders.slice(0, NAMED_FOLDERS).join(', ') + (folders.length > NAMED_FOLDERS ? ', …' : '');
  if (direct !== undefined)
    return {
      archives: direct,
      others: only === undefined ? '' : ` For archives in ${named}, set S3_PREFIX to that folder.`,
    };
  if (only !== undefined && rest.length > 0)
    throw new Failure(
      'REQUEST_REFUSED',
      'permanent',
      `Below s3://${bucket}/${prefix} are archives of several repositories, in ${named}.`,
      { hint: `Set S3_PREFIX to the folder of one of them, such as ${prefix}${only}, or name the archive.` },
    );
  return { archives: all, others: '' };
}

/**
 * Finds the newest archive of one repository below a prefix, among those that verified best. It never chooses one that failed its
 * verification.
 * @param keys that sign verification records; without them the newest archive is chosen
 * @throws Failure STORE_*, REQUEST_REFUSED
 */
export async function findLatestArchive(
  store: ObjectStore,
  prefix: string,
  keys: Keys | undefined,
  signal: AbortSignal,
): Promise<LatestArchive> {
  const { archives: all, verifications } = await listArchives(store, prefix, signal);
  const { archives, others } = ofOneRepository(store, prefix, all);
  archives.sort((one, other) => other.modifiedOn - one.modifiedOn || (one.key < other.key ? 1 : -1));
  const [newest] = archives;
  if (newest === undefined) throw missing(store, prefix, 'There is no archive');
  if (keys === undefined)
    return {
      object: newest,
      reason: `It is the newest one. Without SECRET_KEY, verification records cannot be checked.${others}`,
    };
  const candidates: Candidate[] = [];
  for (let from = 0; from < archives.length; from += AT_ONCE) {
    const batch = archives.slice(from, from + AT_ONCE).map(async (object) => {
      const record = verifications.get(verificationKey(object.key));
      return {
        object,
        proof: record ? await proofOf(store, keys, object, record, signal) : ('none' as const),
      };
    });
    candidates.push(...(await Promise.all(batch)));
    // No older archive can be better.
    if (candidates.some(({ proof }) => proof === 'DRILL')) break;
  }
  const best = PROOFS.findLast((proof) => candidates.some((candidate) => candidate.proof === proof));
  const chosen = candidates.findIndex(({ proof }) => proof === best);
  const candidate = candidates[chosen];
  if (candidate === undefined || candidate.proof === 'failed')
    throw missing(store, prefix, 'There is no archive that did not fail its verification');
  return {
    object: candidate.object,
    reason: `It ${WORDS[candidate.proof]}.${passedOver(store, candidates[0], chosen)}${others}`,
  };
}

function passedOver({ bucket }: ObjectStore, newest: Candidate | undefined, count: number): string {
  if (newest === undefined || count === 0) return '';
  const address = `s3://${bucket}/${newest.object.key}`;
  return ` ${count === 1 ? 'A newer archive was' : `${count} newer archives were`} passed over: ${address} ${WORDS[newest.proof]}.`;
}

async function proofOf(
  store: ObjectStore,
  keys: Keys,
  archive: ListedObject,
  beside: ListedObject,
  signal: AbortSignal,
): Promise<Proof> {
  try {
    const record = await readVerification(store, keys, beside, signal);
    if (record === undefined || !isRecordOf(record, archive)) return 'none';
    return levelReached(record) ?? 'failed';
  } catch (error) {
    // It was replaced or deleted since the listing.
    if (error instanceof Failure && /^STORE_(OBJECT_MISSING|REQUEST_FAILED)$/.test(error.code)) return 'none';
    throw error;
  }
}

function missing({ bucket }: ObjectStore, prefix: string, what: string): Failure {
  return new Failure('STORE_OBJECT_MISSING', 'permanent', `${what} below s3://${bucket}/${prefix}.`, {
    hint: 'Check S3_BUCKET and S3_PREFIX, or name the archive.',
  });
}
