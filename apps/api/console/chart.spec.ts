import { chartDays, chartStart } from './chart.js';

const now = Date.parse('2026-03-01T09:30:00Z');

test('a chart has fourteen days of UTC, of which today is the last', () => {
  const days = chartDays(now, [], []);
  expect(days.map(({ date }) => date)).toEqual([
    ...Array.from({ length: 13 }, (_, index) => `2026-02-${15 + index + 1}`),
    '2026-03-01',
  ]);
  expect(new Date(chartStart(now)).toISOString()).toBe('2026-02-16T00:00:00.000Z');
});

test('a day shows its largest archive, its longest backup, and how many failed', () => {
  const at = (time: string) => Date.parse(`2026-02-28T${time}Z`);
  const days = chartDays(
    now,
    [
      { createdOn: at('00:00:00'), bytes: 10 },
      { createdOn: at('23:59:59.999'), bytes: 30 },
      { createdOn: Date.parse('2026-02-15T23:59:59Z'), bytes: 99 },
      // A clock that is ahead of this one.
      { createdOn: Date.parse('2026-03-02T00:00:00Z'), bytes: 99 },
    ],
    [
      { endedOn: at('01:00:00'), duration: 700, failed: false },
      { endedOn: at('02:00:00'), duration: 500, failed: false },
      { endedOn: at('03:00:00'), duration: 9_000, failed: true },
    ],
  );
  expect(days.filter(({ bytes, completed, failed }) => bytes + completed + failed > 0)).toEqual([
    { date: '2026-02-28', bytes: 30, duration: 700, completed: 2, failed: 1 },
  ]);
});
