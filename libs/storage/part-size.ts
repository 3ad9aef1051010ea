const MiB = 1024 * 1024;

/** https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html */
export const MAX_PARTS = 10_000;
const MAX_PART_BYTES = 5 * 1024 * MiB;
const SMALLEST_PART_BYTES = 8 * MiB;

/** Up to here all parts are equal, as some S3-compatible stores like it best. */
const EQUAL_PARTS = 8_000;
/** From there on they double each time so many parts were sent. */
const DOUBLING_PARTS = 250;

/**
 * The size of a multipart upload's parts, chosen so that the upload can never run out of part numbers.
 *
 * An upload that is as long as estimated fits into 9,000 equal parts. One that turns out longer meets growing
 * parts after the 8,000th, which hold more than 13 times the estimate.
 * @param estimatedBytes of the whole object; it may be wrong
 * @param partNumber from 1
 * @returns bytes
 */
export function partSize(estimatedBytes: number, partNumber: number): number {
  const even = Math.max(SMALLEST_PART_BYTES, Math.ceil(estimatedBytes / 9_000 / MiB) * MiB);
  const doublings = Math.max(0, Math.ceil((partNumber - EQUAL_PARTS) / DOUBLING_PARTS));
  return Math.min(even * 2 ** doublings, MAX_PART_BYTES);
}
