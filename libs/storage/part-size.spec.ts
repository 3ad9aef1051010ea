import { MAX_PARTS, partSize } from './part-size.js';

const MiB = 1024 ** 2;
const GiB = 1024 ** 3;

/** What 10,000 parts hold at most. */
function capacity(estimate: number): number {
  let bytes = 0;
  for (let part = 1; part <= MAX_PARTS; part++) bytes += partSize(estimate, part);
  return bytes;
}

test.each([
  [0, 8],
  [1 * GiB, 8],
  [70 * GiB, 8],
  [100 * GiB, 12],
  [1024 * GiB, 117],
  [5 * 1024 * GiB, 583],
])('an estimate of %d bytes gives parts of %d MiB', (estimate, mebibytes) => {
  expect(partSize(estimate, 1)).toBe(mebibytes * MiB);
  expect(partSize(estimate, 8_000)).toBe(mebibytes * MiB);
});

/** What S3 takes as one object. */
const MAX_OBJECT = 5 * 1024 * GiB;

test.each([1, 100, 1_000].map((size) => size * GiB))(
  'no estimate of %d bytes is so wrong that the parts run out',
  (estimate) => {
    expect(capacity(estimate)).toBeGreaterThan(Math.min(13 * estimate, MAX_OBJECT));
  },
);

test('no part is larger than S3 takes, and none but the last smaller', () => {
  for (const estimate of [0, 5 * 1024 * GiB, 50 * 1024 * GiB])
    for (const part of [1, 8_001, MAX_PARTS]) {
      expect(partSize(estimate, part)).toBeLessThanOrEqual(5 * GiB);
      expect(partSize(estimate, part)).toBeGreaterThanOrEqual(5 * MiB);
    }
});

test('an archive of 100 GB needs less than 64 MiB for parts: three on their way and one that fills up', () => {
  expect(4 * partSize(100e9, 8_000)).toBeLessThan(64 * MiB);
});
