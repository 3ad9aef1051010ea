const MiB = 1024 * 1024;

/** https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html */
const MAX_PART_BYTES = 5 * 1024 * MiB;

/** The share of the parts that have the same size. */
const EQUAL_SHARE = 0.8;
/** Later parts double in size after each such share: ten times. */
const DOUBLING_SHARE = 0.02;

/** Compressed rows may be larger than in PostgreSQL, which compresses long values too. */
const HEADROOM = 2;

const MOST_IN_FLIGHT = 3;
/** Limits the memory: fewer parts are in flight if they are larger than a quarter of this. */
const PARTS_MEMORY_BYTES = 512 * MiB;

/** The limits of a store. */
export interface PartLimits {
  /** Parts of one upload. */
  maxParts: number;
  /** The size of the smallest parts. */
  partBytes: number;
}

/**
 * The size of a part of a multipart upload. All parts are equal, as Cloudflare R2 demands, unless the object becomes more
 * than twice as long as estimated. Later parts then grow, up to the largest size that S3 takes.
 * @param estimatedBytes of the whole object; it may be wrong
 * @param partNumber from 1
 * @returns bytes
 */
export function partSize(
  { maxParts, partBytes }: PartLimits,
  estimatedBytes: number,
  partNumber: number,
): number {
  const equal = Math.floor(maxParts * EQUAL_SHARE);
  const even = Math.max(partBytes, Math.ceil((HEADROOM * estimatedBytes) / equal / MiB) * MiB);
  const doublings = Math.ceil(Math.max(0, partNumber - equal) / (maxParts * DOUBLING_SHARE));
  return Math.min(even * 2 ** doublings, MAX_PART_BYTES);
}

/** The maximum of parts in flight for a size of parts, in addition to the one being filled. */
export function partsInFlight(bytes: number): number {
  return Math.max(1, Math.min(MOST_IN_FLIGHT, Math.floor(PARTS_MEMORY_BYTES / bytes) - 1));
}
