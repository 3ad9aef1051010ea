import { createHash } from 'node:crypto';
import { buffer } from 'node:stream/consumers';
import { z } from 'zod';
import { type ListedObject, MOST_KEY_BYTES, type ObjectStore } from '#storage';

/** More than any honest record has: bytes. */
const MAX_RECORD_BYTES = 64 * 1024;

const recordSchema = z.object({
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
});

/** What is kept beside an archive as `<key>.verified.json`. */
export type VerificationRecord = z.infer<typeof recordSchema>;

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
 * @returns undefined when it is none of ours. @throws Failure STORE_*
 */
export async function readVerification(
  store: ObjectStore,
  object: ListedObject,
  signal: AbortSignal,
): Promise<VerificationRecord | undefined> {
  if (object.bytes > MAX_RECORD_BYTES) return undefined;
  const text = (await buffer(store.openListed(object, signal).read(0, object.bytes))).toString('utf8');
  try {
    return recordSchema.safeParse(JSON.parse(text)).data;
  } catch {
    return undefined; // No JSON.
  }
}
