import { formatBytes, formatCount, formatDuration, formatRows } from './index.js';

test('formats bytes in the unit that fits', () => {
  const amounts = [0, 999, 1_000, 9_940, 9_960, 999_499, 999_500, 5_600_000_000];
  expect(amounts.map(formatBytes)).toEqual([
    '0 B',
    '999 B',
    '1.0 kB',
    '9.9 kB',
    '10 kB',
    '999 kB',
    '1.0 MB',
    '5.6 GB',
  ]);
});

test('formats durations in two units', () => {
  const durations = [170, 1_000, 59_499, 59_500, 3_599_400, 3_600_000, 47 * 3_600_000, 50 * 3_600_000];
  expect(durations.map(formatDuration)).toEqual([
    '170 ms',
    '1 s',
    '59 s',
    '1 min 0 s',
    '59 min 59 s',
    '1 h 0 min',
    '47 h 0 min',
    '2 d 2 h',
  ]);
});

test('formats counts with commas', () => {
  expect([0, 999, 1_234_567.4].map(formatCount)).toEqual(['0', '999', '1,234,567']);
});

test('formats numbers of rows', () => {
  const rows = [0, 1, 785, 999_499, 999_500, 1_550_000, 2_345_678_901];
  expect(rows.map(formatRows)).toEqual([
    '0 rows',
    '1 row',
    '785 rows',
    '999,499 rows',
    '1.00 M rows',
    '1.55 M rows',
    '2.35 G rows',
  ]);
});
