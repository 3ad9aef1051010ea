import { Meter } from './meter.js';

function metered(samples: [at: number, done: number][]): Meter {
  const meter = new Meter();
  for (const [at, done] of samples) meter.add(done, at);
  return meter;
}

test('gives no rate in the first second', () => {
  expect(
    metered([
      [0, 0],
      [900, 500],
    ]),
  ).toMatchObject({ rate: undefined });
  expect(
    metered([
      [0, 0],
      [900, 500],
    ]).left(1_000),
  ).toBeUndefined();
});

test('gives the rate per second and the time left', () => {
  const meter = metered([
    [0, 100],
    [2_000, 300],
  ]);
  expect(meter.rate).toBe(100);
  expect(meter.left(800)).toBe(5_000);
  expect(meter.left(300)).toBe(0);
});

test('forgets samples older than fifteen seconds', () => {
  const slowThenFast = Array.from({ length: 31 }, (_, second): [number, number] => [
    second * 1_000,
    second <= 15 ? second : 15 + (second - 15) * 100,
  ]);
  expect(metered(slowThenFast).rate).toBe(100);
});

test('gives no time left without progress', () => {
  const meter = metered([
    [0, 50],
    [10_000, 50],
  ]);
  expect(meter.rate).toBe(0);
  expect(meter.left(100)).toBeUndefined();
});

test('starts over with another attempt', () => {
  expect(
    metered([
      [0, 0],
      [5_000, 5_000],
      [6_000, 0],
      [8_000, 20],
    ]).rate,
  ).toBe(10);
});
