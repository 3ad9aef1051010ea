import { buffer } from 'node:stream/consumers';
import { z } from 'zod';
import type { ListedObject, ObjectStore } from '#storage';

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

/** Where the result of an archive's last verification is kept. */
export function verificationKey(archiveKey: string): string {
  return `${archiveKey}.verified.json`;
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
