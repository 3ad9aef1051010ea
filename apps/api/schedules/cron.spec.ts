import { nextTime, patternFault, timeZoneFault } from './cron.js';

const at = (text: string) => new Date(text).getTime();
const times = (pattern: string, from: string, count: number, timeZone = 'Europe/Berlin') => {
  const found: string[] = [];
  for (let time = at(from); found.length < count;) {
    time = nextTime({ pattern, timeZone }, time);
    found.push(new Date(time).toISOString());
  }
  return found;
};

test('a time that the clocks show twice in autumn comes once, one that they skip in spring comes an hour later', () => {
  expect(times('30 2 * * *', '2026-10-24T12:00:00Z', 2)).toEqual([
    '2026-10-25T00:30:00.000Z',
    '2026-10-26T01:30:00.000Z',
  ]);
  // Also a moment after the first one.
  expect(times('30 2 * * *', '2026-10-25T00:30:00.070Z', 1)).toEqual(['2026-10-26T01:30:00.000Z']);
  expect(times('30 2 * * *', '2026-03-28T12:00:00Z', 2)).toEqual([
    '2026-03-29T01:30:00.000Z',
    '2026-03-30T00:30:00.000Z',
  ]);
});

test('clock changes at midnight lose no night', () => {
  expect(times('0 0 * * *', '2026-04-22T22:00:00Z', 2, 'Africa/Cairo')).toEqual([
    '2026-04-23T22:00:00.000Z',
    '2026-04-24T21:00:00.000Z',
  ]);
  expect(times('0 0 * * *', '2026-10-31T12:00:00Z', 2, 'America/Havana')).toEqual([
    '2026-11-01T04:00:00.000Z',
    '2026-11-02T05:00:00.000Z',
  ]);
  // An island that had no 30 December.
  expect(times('0 1 * * *', '2011-12-29T10:00:00Z', 3, 'Pacific/Apia')).toEqual([
    '2011-12-29T11:00:00.000Z',
    '2011-12-30T11:00:00.000Z',
    '2011-12-31T11:00:00.000Z',
  ]);
});

test('a pattern of every hour goes by elapsed time', () => {
  expect(times('30 * * * *', '2026-10-25T00:00:00Z', 3)).toEqual([
    '2026-10-25T00:30:00.000Z',
    '2026-10-25T01:30:00.000Z',
    '2026-10-25T02:30:00.000Z',
  ]);
});

test.each(['30 2 * * *', '*/5 * * * * *', '0 0 L * *', '@daily', '0 3 * * MON-FRI', '0 9 * * THU'])(
  '%s is a pattern',
  (pattern) => {
    expect(patternFault(pattern)).toBeUndefined();
  },
);

test.each([
  ['', /five fields/],
  ['5', /five fields/],
  ['1 2 3 4 5 6 7', /five fields/],
  ['60 * * * *', /expected range 0-59/],
  ['0 0 30 2 *', /Invalid explicit day of month/],
  ['@sometimes', /cannot resolve alias/],
  ['H 3 * * *', /must not contain H/],
  ['0 H(0-5) * * *', /must not contain H/],
])('%p is no pattern', (pattern, fault) => {
  expect(patternFault(pattern)).toMatch(fault);
});

test('time zones are those of the IANA database', () => {
  expect(['UTC', 'Europe/Berlin', 'Pacific/Apia'].map(timeZoneFault)).toEqual([
    undefined,
    undefined,
    undefined,
  ]);
  for (const zone of ['', 'local', 'Mars/Olympus', '+01:00', '-0330', '+01'])
    expect(timeZoneFault(zone)).toMatch(/^there is no time zone/);
});
