import { createHash } from 'node:crypto';
import { buffer } from 'node:stream/consumers';
import { z } from 'zod';
import type { Keys } from '#keys';
import { type ListedObject, MOST_KEY_BYTES, type ObjectStore } from '#storage';

/** More than any honest record has: bytes. */
const MAX_RECORD_BYTES = 64 * 1024;

const recordSchema = z.strictObject({
  archive: z.string(),
  /** Whether it could be restored here and then: it was whole, and it fitted the repository. */
  restorable: z.boolean(),
  /** Why not, in one line. */
  reason: z.string().optional(),
  /** Whether its rows were loaded, or read and checked only. */
  restoreDrill: z.boolean(),
  entities: z.number().optional(),
  daemonId: z.string(),
  verifiedAt: z.iso.datetime(),
  /** Of the object that was read, as are the next two. */
  etag: z.string().nullable(),
  /** Null in a bucket without versions. */
  versionId: z.string().nullable(),
  bytes: z.int(),
  /** Proves that a worker wrote all of this. */
  code: z.string(),
});

/** What is kept beside an archive as `<key>.verified.json`. */
export type VerificationRecord = z.infer<typeof recordSchema>;

/** What a verification found. */
export type VerificationFacts = Omit<VerificationRecord, 'archive' | 'etag' | 'versionId' | 'bytes' | 'code'>;

/** The record of what a verification of an object found. */
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
 * Whether a record is of this very object. One that was replaced, by equal bytes even, or damaged, is another one; a
 * listing does not tell versions apart.
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

/** Some stores and some of their calls leave the quotes out. A weak ETag does not tell bytes apart. */
function strongTag(etag: string | null | undefined): string | undefined {
  return etag?.startsWith('W/') === false ? etag.replaceAll('"', '') : undefined;
}

/**
 * Where the result of an archive's last verification is kept: beside it, and where no key may be that long, under a
 * shorter name with a digest of the archive's. No archive's own name has a `~`.
 */
export function verificationKey(archiveKey: string): string {
  const key = `${archiveKey}.verified.json`;
  if (Buffer.byteLength(key) <= MOST_KEY_BYTES) return key;
  const ending = `~${createHash('sha256').update(archiveKey).digest('hex')}.zip.verified.json`;
  return archiveKey.slice(0, MOST_KEY_BYTES - ending.length) + ending;
}

/**
 * Reads the record of a verification where it lies.
 * @returns undefined unless a worker has written it. @throws Failure STORE_*
 */
export async function readVerification(
  store: ObjectStore,
  keys: Keys,
  object: ListedObject,
  signal: AbortSignal,
): Promise<VerificationRecord | undefined> {
  if (object.bytes > MAX_RECORD_BYTES) return undefined;
  const text = (await buffer(store.openListed(object, signal).read(0, object.bytes))).toString('utf8');
  let record: VerificationRecord | undefined;
  try {
    record = recordSchema.safeParse(JSON.parse(text)).data;
  } catch {
    return undefined; // No JSON.
  }
  if (record === undefined) return undefined;
  const { code, ...facts } = record;
  return keys.verify('verification record', facts, code) ? record : undefined;
}
