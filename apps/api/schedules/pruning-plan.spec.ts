import fc from 'fast-check';
import { reaches } from '#common';
import { type Retention, VERIFICATION_LEVELS } from '#contracts';
import { type PlannedArchive, planPruning, type PruningRules } from './pruning-plan.js';

const rules = (retention: Retention, more: Partial<PruningRules> = {}): PruningRules => ({
  retention,
  timeZone: 'UTC',
  level: 'FIT',
  ...more,
});

/** Archives at these times, which are their keys too. A question mark means unverified, a letter the level READ or DRILL. */
const made = (...times: string[]): PlannedArchive[] =>
  times.map((time) => ({
    key: time,
    createdOn: new Date(time.replace(/[?rd]$/, '')).getTime(),
    reached: time.endsWith('?') ? null : time.endsWith('r') ? 'READ' : time.endsWith('d') ? 'DRILL' : 'FIT',
  }));

function kept(archives: PlannedArchive[], by: PruningRules): Record<string, string[]> {
  const { keep } = planPruning(archives, by);
  return Object.fromEntries(keep.map(({ archive, because }) => [archive.key, because]));
}

const days = (from: string, count: number) =>
  Array.from({ length: count }, (_, day) =>
    new Date(new Date(from).getTime() + day * 86_400_000).toISOString(),
  );

test('the last archives, and the newest of each of the last days, weeks, months and years are kept, with the reasons', () => {
  const archives = made(...days('2024-12-01T02:30:00Z', 400)); // Until 2026-01-04, a Sunday.
  expect(kept(archives, rules({ last: 2, daily: 3, weekly: 2, monthly: 3, yearly: 2 }))).toEqual({
    '2026-01-04T02:30:00.000Z': [
      'last',
      'daily 2026-01-04',
      'weekly 2026-W01',
      'monthly 2026-01',
      'yearly 2026',
    ],
    '2026-01-03T02:30:00.000Z': ['last', 'daily 2026-01-03'],
    '2026-01-02T02:30:00.000Z': ['daily 2026-01-02'],
    '2025-12-31T02:30:00.000Z': ['monthly 2025-12', 'yearly 2025'],
    '2025-12-28T02:30:00.000Z': ['weekly 2025-W52'],
    '2025-11-30T02:30:00.000Z': ['monthly 2025-11'],
  });
});

test('while a limit is not reached the oldest archive is kept too, so that years can be counted from the first archive on', () => {
  const archives = made(...days('2026-01-10T00:00:00Z', 30));
  expect(kept(archives, rules({ daily: 1, yearly: 2 }))).toEqual({
    '2026-02-08T00:00:00.000Z': ['daily 2026-02-08', 'yearly 2026'],
    '2026-01-10T00:00:00.000Z': ['oldest, until yearly has its 2'],
  });
});

test('days are those of the time zone, also where the clocks change', () => {
  // 23:30 on the 24th, 00:30, 02:30 twice and 23:30 on the 25th, which has 25 hours in Berlin.
  const autumn = made(
    '2026-10-24T21:30:00Z',
    '2026-10-24T22:30:00Z',
    '2026-10-25T00:30:00Z',
    '2026-10-25T01:30:00Z',
    '2026-10-25T22:30:00Z',
  );
  expect(kept(autumn, rules({ daily: 2 }, { timeZone: 'Europe/Berlin' }))).toEqual({
    '2026-10-25T22:30:00Z': ['daily 2026-10-25'],
    '2026-10-24T21:30:00Z': ['daily 2026-10-24'],
  });
  expect(Object.keys(kept(autumn, rules({ daily: 2 })))).toEqual([
    '2026-10-25T22:30:00Z',
    '2026-10-24T22:30:00Z',
  ]);
  // Samoa had no 30 December when it crossed the date line.
  const samoa = made('2011-12-30T09:59:00Z', '2011-12-30T10:01:00Z');
  expect(kept(samoa, rules({ daily: 2 }, { timeZone: 'Pacific/Apia' }))).toEqual({
    '2011-12-30T10:01:00Z': ['daily 2011-12-31'],
    '2011-12-30T09:59:00Z': ['daily 2011-12-29'],
  });
});

test('the week of the turn of a year belongs to the year of its Thursday', () => {
  const archives = made('2020-12-31T12:00:00Z', '2021-01-03T12:00:00Z', '2021-01-04T12:00:00Z');
  expect(kept(archives, rules({ weekly: 2 }))).toEqual({
    '2021-01-04T12:00:00Z': ['weekly 2021-W01'],
    '2021-01-03T12:00:00Z': ['weekly 2020-W53'],
  });
});

test('unverified archives do not count towards the limits', () => {
  const archives = made('2026-01-01', '2026-01-02', '2026-01-03', '2026-01-04?', '2026-01-05?');
  expect(kept(archives, rules({ last: 2 }))).toEqual({
    '2026-01-05?': ['last'],
    '2026-01-04?': ['last'],
    '2026-01-03': ['last'],
    '2026-01-02': ['last'],
  });
  expect(kept(archives, rules({ daily: 1 }))).toEqual({
    '2026-01-05?': ['daily 2026-01-05'],
    '2026-01-04?': ['daily 2026-01-04'],
    '2026-01-03': ['daily 2026-01-03'],
  });
});

test('archives of a lower level than the schedule has do not count, and those of a higher one do', () => {
  const archives = made('2026-01-01', '2026-01-02d', '2026-01-03', '2026-01-04r', '2026-01-05d');
  expect(kept(archives, rules({ last: 2 }, { level: 'DRILL' }))).toEqual({
    '2026-01-05d': ['last'],
    '2026-01-04r': ['last'],
    '2026-01-03': ['last'],
    '2026-01-02d': ['last'],
  });
  expect(Object.keys(kept(archives, rules({ last: 2 }, { level: 'READ' })))).toEqual([
    '2026-01-05d',
    '2026-01-04r',
  ]);
});

test('the newest archive of the level stays, however old it is', () => {
  const archives = made(
    '2025-12-31d',
    '2026-01-01d',
    '2026-01-02',
    '2026-01-02T01:00Z',
    '2026-01-02T02:00Z?',
  );
  expect(kept(archives, rules({ daily: 1 }, { level: 'DRILL' }))).toEqual({
    '2026-01-02T02:00Z?': ['daily 2026-01-02'],
    '2026-01-02T01:00Z': ['newest verified'],
    '2026-01-01d': ['daily 2026-01-01'],
  });
});

test('if nothing is verified today, the newest verified archive stays', () => {
  const archives = made('2026-01-01', '2026-01-02', '2026-01-03?', '2026-01-04?');
  expect(kept(archives, rules({ last: 1 }, { level: undefined }))).toEqual({
    '2026-01-04?': ['last'],
    '2026-01-02': ['newest verified'],
  });
});

describe('for any archives and rules', () => {
  const FROM = new Date('2019-12-20T00:00:00Z').getTime();
  const count = fc.option(fc.integer({ min: 0, max: 8 }), { nil: undefined });
  const anyArchive = fc.record({
    // Few different hours, so that there are ties and full days.
    createdOn: fc
      .oneof(fc.integer({ min: 0, max: 24 * 14 }), fc.integer({ min: 0, max: 24 * 1_500 }))
      .map((hours) => FROM + hours * 3_600_000),
    reached: fc.constantFrom(null, ...VERIFICATION_LEVELS),
  });
  const archives = fc
    .array(anyArchive, { maxLength: 60 })
    .map((all) => all.map((one, index): PlannedArchive => ({ ...one, key: `key-${index}` })));
  const anyRules = fc.record({
    retention: fc.record({ last: count, daily: count, weekly: count, monthly: count, yearly: count }),
    timeZone: fc.constantFrom('UTC', 'Europe/Berlin', 'America/St_Johns', 'Pacific/Apia', 'Asia/Kathmandu'),
    level: fc.constantFrom(undefined, ...VERIFICATION_LEVELS),
  });
  const keptKeys = (all: PlannedArchive[], by: PruningRules) =>
    planPruning(all, by).keep.map(({ archive: { key } }) => key);

  test('each is either kept for a reason or deleted, newest first', () => {
    fc.assert(
      fc.property(archives, anyRules, (all, by) => {
        const plan = planPruning(all, by);
        const stay = plan.keep.map(({ archive }) => archive);
        expect(new Set([...stay, ...plan.delete])).toEqual(new Set(all));
        expect(stay.length + plan.delete.length).toBe(all.length);
        for (const { because } of plan.keep) expect(because).not.toEqual([]);
        for (const list of [stay, plan.delete])
          expect(list.map(({ createdOn }) => -createdOn)).toEqual(
            list.map(({ createdOn }) => -createdOn).sort((a, b) => a - b),
          );
      }),
    );
  });

  test('the newest and the newest verified one stay', () => {
    fc.assert(
      fc.property(archives, anyRules, (all, by) => {
        const stay = planPruning(all, by).keep.map(({ archive }) => archive);
        const newest = (list: PlannedArchive[]) => Math.max(...list.map(({ createdOn }) => createdOn));
        expect(newest(stay)).toBe(newest(all));
        const isVerified = ({ reached }: PlannedArchive) => reached !== null;
        expect(newest(stay.filter(isVerified))).toBe(newest(all.filter(isVerified)));
      }),
    );
  });

  test('the last archives stay, and as many verified ones if the schedule verifies', () => {
    fc.assert(
      fc.property(archives, anyRules, (all, by) => {
        const stay = planPruning(all, by).keep.map(({ archive }) => archive);
        const last = by.retention.last ?? 0;
        const counted = (list: PlannedArchive[]) =>
          list.filter(({ reached }) => by.level === undefined || reaches(reached, by.level));
        expect(counted(stay).length).toBeGreaterThanOrEqual(Math.min(last, counted(all).length));
        const oldestKept = Math.min(...stay.map(({ createdOn }) => createdOn));
        const lastOnes = [...all].sort((a, b) => b.createdOn - a.createdOn).slice(0, last);
        for (const { createdOn } of lastOnes) expect(createdOn).toBeGreaterThanOrEqual(oldestKept);
      }),
    );
  });

  test('the newest archive of each of the last days stays', () => {
    fc.assert(
      fc.property(archives, anyRules, (all, { retention, timeZone }) => {
        const by = { retention, timeZone };
        const date = new Intl.DateTimeFormat('sv', { timeZone });
        const newestOf = new Map<string, PlannedArchive>();
        for (const one of [...all].sort((a, b) => a.createdOn - b.createdOn || (a.key < b.key ? -1 : 1)))
          newestOf.set(date.format(one.createdOn), one);
        const wanted = [...newestOf]
          .sort(([a], [b]) => (a < b ? 1 : -1))
          .slice(0, retention.daily ?? 0)
          .map(([, { key }]) => key);
        expect(keptKeys(all, by)).toEqual(expect.arrayContaining(wanted));
      }),
    );
  });

  test('a second plan, in any order and for the remaining archives, is the same', () => {
    fc.assert(
      fc.property(archives, anyRules, (all, by) => {
        const stay = planPruning(all, by).keep.map(({ archive }) => archive);
        expect(planPruning(stay, by).delete).toEqual([]);
        expect(keptKeys([...all].reverse(), by)).toEqual(keptKeys(all, by));
      }),
    );
  });
});
