const MiB = 1024 * 1024;

/** https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html */
const MAX_PART_BYTES = 5 * 1024 * MiB;

/** This share of the parts is equal. */
const EQUAL_SHARE = 0.8;
/** From there on they double each time that this share more was sent: ten times. */
const DOUBLING_SHARE = 0.02;

/** Compressed rows may take more room than PostgreSQL takes for them, which compresses long values too. */
const HEADROOM = 2;

const MOST_IN_FLIGHT = 3;
/** Parts that are larger than a quarter of this are sent fewer at a time. */
const PARTS_MEMORY_BYTES = 512 * MiB;

/** What a store takes. */
export interface PartLimits {
  /** Parts of one upload. */
  maxParts: number;
  /** The size of the smallest parts. */
  partBytes: number;
}

/**
 * The size of a multipart upload's parts. All are equal, as Cloudflare R2 demands it, unless the object turns out more
 * than twice as long as estimated. It then meets growing parts, up to the
 * largest that S3 takes.
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

/** How many parts of a size may be on their way at once, with another one that fills up. */
export function partsInFlight(bytes: number): number {
  return Math.max(1, Math.min(MOST_IN_FLIGHT, Math.floor(PARTS_MEMORY_BYTES / bytes) - 1));
}
