import { createHash } from 'node:crypto';
import { buffer } from 'node:stream/consumers';
import { z } from 'zod';
import { levelOf, reaches } from '#common';
import { VERIFICATION_LEVELS, type VerificationLevel } from '#contracts';
import type { Keys } from '#keys';
import { type ListedObject, MOST_KEY_BYTES, type ObjectStore } from '#storage';

/** Longer records are ignored. */
const MAX_RECORD_BYTES = 64 * 1024;

const levelSchema = z.enum(VERIFICATION_LEVELS);

const recordSchema = z.strictObject({
  archive: z.string(),
  /** Whether it passed: the archive is complete, and above READ it matched the repository. */
  restorable: z.boolean(),
  /** The reason if not, in one line. */
  reason: z.string().optional(),
  /** Missing in records of 0.1.0, which say `restoreDrill` instead: true is DRILL, else FIT. */
  level: levelSchema.optional(),
  restoreDrill: z.boolean().optional(),
  /** How long the verification took. */
  durationMs: z.int().min(0).optional(),
  /** Sentences, of a passed verification. */
  proven: z.array(z.string()).optional(),
  notProven: z.array(z.string()).optional(),
  /** An earlier verification of the same object at a higher level, which still holds: the object has not changed. */
  reached: z
    .strictObject({ level: levelSchema, daemonId: z.string(), verifiedAt: z.iso.datetime() })
    .optional(),
  entities: z.number().optional(),
  daemonId: z.string(),
  verifiedAt: z.iso.datetime(),
  /** The ETag, version and length are those of the object that was read. */
  etag: z.string().nullable(),
  /** Null in a bucket without versioning. */
  versionId: z.string().nullable(),
  bytes: z.int(),
  /** Authenticates the record: a worker has signed it. */
  code: z.string(),
});

/** The record beside an archive, `<key>.verified.json`. */
export type VerificationRecord = Omit<z.infer<typeof recordSchema>, 'level' | 'restoreDrill'> & {
  level: VerificationLevel;
};

/** The outcome of a verification. */
export type VerificationFacts = Omit<VerificationRecord, 'archive' | 'etag' | 'versionId' | 'bytes' | 'code'>;

/** The highest level that the archive has reached; undefined if it is not restorable. */
export function levelReached({
  restorable,
  level,
  reached,
}: VerificationRecord): VerificationLevel | undefined {
  return restorable ? (reached?.level ?? level) : undefined;
}

/** Takes over the highest level of an earlier record, unless the new one reaches it. */
export function higherLevel(
  before: VerificationRecord | undefined,
  newLevel: VerificationLevel,
): Pick<VerificationFacts, 'reached'> {
  const highest = before && levelReached(before);
  if (before === undefined || highest === undefined || reaches(newLevel, highest)) return {};
  const { daemonId, verifiedAt } = before;
  return { reached: before.reached ?? { level: highest, daemonId, verifiedAt } };
}

/** Signs the outcome of an object's verification. */
export function verificationRecord(
  keys: Keys,
  { key, etag, versionId, bytes }: ListedObject,
  facts: VerificationFacts,
): VerificationRecord {
  const object = { etag: etag ?? null, versionId: versionId ?? null, bytes };
  const record = { archive: key, ...facts, ...object };
  return { ...record, code: keys.sign('verification record', record) };
}

/**
 * Whether a record belongs to this object. An object that was replaced, even by equal bytes, is another one. Listings
 * show no versions.
 */
export function isRecordOf(
  record: VerificationRecord,
  { key, etag, versionId, bytes }: ListedObject,
): boolean {
  const tag = strongTag(etag);
  return (
    record.archive === key &&
    record.bytes === bytes &&
    tag !== undefined &&
    strongTag(record.etag) === tag &&
    (versionId === undefined || record.versionId === versionId)
  );
}

/** Removes the quotes, which some stores omit. @returns undefined for a weak ETag, which does not identify bytes */
function strongTag(etag: string | null | undefined): string | undefined {
  return etag?.startsWith('W/') === false ? etag.replaceAll('"', '') : undefined;
}

/**
 * The key of the record of an archive's last verification. If that key would be too long, it contains a digest of the
 * archive's key instead, after a `~`, which names of archives never contain.
 */
export function verificationKey(archiveKey: string): string {
  const key = `${archiveKey}.verified.json`;
  if (Buffer.byteLength(key) <= MOST_KEY_BYTES) return key;
  const ending = `~${createHash('sha256').update(archiveKey).digest('hex')}.zip.verified.json`;
  return archiveKey.slice(0, MOST_KEY_BYTES - ending.length) + ending;
}

/**
 * Reads the record of a verification.
 * @returns undefined unless a worker has signed it. @throws Failure STORE_*
 */
export async function readVerification(
  store: ObjectStore,
  keys: Keys,
  object: ListedObject,
  signal: AbortSignal,
): Promise<VerificationRecord | undefined> {
  if (object.bytes > MAX_RECORD_BYTES) return undefined;
  const text = (await buffer(store.openListed(object, signal).read(0, object.bytes))).toString('utf8');
  let record: z.infer<typeof recordSchema> | undefined;
  try {
    record = recordSchema.safeParse(JSON.parse(text)).data;
  } catch {
    return undefined; // Not JSON.
  }
  if (record === undefined) return undefined;
  const { code, ...facts } = record;
  if (!keys.verify('verification record', facts, code)) return undefined;
  const { restoreDrill, ...others } = record;
  return { ...others, level: levelOf({ level: others.level, restoreDrill }) };
}

/** Finds and reads the record beside an archive. @returns undefined unless it counts for this object. @throws Failure STORE_* */
export async function readRecordOf(
  store: ObjectStore,
  keys: Keys,
  archive: ListedObject,
  signal: AbortSignal,
): Promise<VerificationRecord | undefined> {
  const beside = await store.find(verificationKey(archive.key), signal);
  const record = beside && (await readVerification(store, keys, beside, signal));
  return record !== undefined && isRecordOf(record, archive) ? record : undefined;
}

/**
 * Deletes an archive and its verification record. The archive goes last, so that a second call completes a failed one.
 * @throws Failure STORE_*
 */
export async function deleteArchive(store: ObjectStore, key: string, signal: AbortSignal): Promise<void> {
  await store.delete(verificationKey(key), signal);
  await store.delete(key, signal);
}
