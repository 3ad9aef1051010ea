import { partSize, partsInFlight } from './part-size.js';

const MiB = 1024 ** 2;
const GiB = 1024 ** 3;
const AWS = { maxParts: 10_000, partBytes: 8 * MiB };
const SCALEWAY = { maxParts: 1_000, partBytes: 8 * MiB };

/** The capacity of all parts. */
function capacity(limits: typeof AWS, estimate: number): number {
  let bytes = 0;
  for (let part = 1; part <= limits.maxParts; part++) bytes += partSize(limits, estimate, part);
  return bytes;
}

test.each([
  [AWS, 0, 8],
  [AWS, 1 * GiB, 8],
  [AWS, 31 * GiB, 8],
  [AWS, 100 * GiB, 26],
  [AWS, 1024 * GiB, 263],
  [SCALEWAY, 3 * GiB, 8],
  [SCALEWAY, 8 * GiB, 21],
  [SCALEWAY, 100 * GiB, 256],
  [{ maxParts: 10_000, partBytes: 64 * MiB }, 1 * GiB, 64],
])('for %j an estimate of %d bytes gives parts of %d MiB', (limits, estimate, mebibytes) => {
  expect(partSize(limits, estimate, 1)).toBe(mebibytes * MiB);
});

test.each([
  [AWS, 1, 2_600],
  [AWS, 8, 330],
  [AWS, 100, 44],
  [AWS, 1_000, 9],
  [SCALEWAY, 1, 260],
  [SCALEWAY, 8, 52],
  [SCALEWAY, 100, 9],
  [SCALEWAY, 1_000, 2.9],
])(
  'for %j an estimate of %d GiB may be wrong %d times, and all parts are equal up to twice',
  (limits, size, times) => {
    const estimate = size * GiB;
    expect(capacity(limits, estimate)).toBeGreaterThan(times * estimate);
    const even = partSize(limits, estimate, 1);
    expect(partSize(limits, estimate, Math.ceil((2 * estimate) / even))).toBe(even);
  },
);

test('no part is larger than S3 takes, and none but the last smaller', () => {
  for (const estimate of [0, 5 * 1024 * GiB, 50 * 1024 * GiB])
    for (const part of [1, 8_001, AWS.maxParts]) {
      expect(partSize(AWS, estimate, part)).toBeLessThanOrEqual(5 * GiB);
      expect(partSize(AWS, estimate, part)).toBeGreaterThanOrEqual(5 * MiB);
    }
});

test.each([
  [8 * MiB, 3],
  [128 * MiB, 3],
  [129 * MiB, 2],
  [200 * MiB, 1],
  [5 * GiB, 1],
])('of parts of %d bytes at most %d are in flight, which limits the memory', (bytes, atOnce) => {
  expect(partsInFlight(bytes)).toBe(atOnce);
});
