import { nextTime } from './cron.js';

/** All zones over ten years, which takes minutes. */
const thorough = process.env['THOROUGH'] === '1';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const FROM = Date.UTC(2026, 0, 1);
const UNTIL = Date.UTC(thorough ? 2036 : 2027, 0, 1);

/** The fields of a pattern that the reference knows: minutes, hours, days of the month and of the week. */
interface Fields {
  minutes: number[];
  hours: number[];
  days?: number[];
  weekdays?: number[];
}
const from = (first: number, last: number, step = 1) =>
  Array.from({ length: Math.floor((last - first) / step) + 1 }, (_, nth) => first + nth * step);
const HOURS = from(0, 23);

const PATTERNS = Object.entries<Fields>({
  '0 0 * * *': { minutes: [0], hours: [0] },
  '30 2 * * *': { minutes: [30], hours: [2] },
  '45 23,1 * * *': { minutes: [45], hours: [1, 23] },
  '*/20 0-3 * * *': { minutes: from(0, 59, 20), hours: from(0, 3) },
  '15 */2 * * *': { minutes: [15], hours: from(0, 22, 2) },
  '10 * * * *': { minutes: [10], hours: HOURS },
  '*/25 * * * *': { minutes: from(0, 50, 25), hours: HOURS },
  '0 0 * * FRI': { minutes: [0], hours: [0], weekdays: [5] },
  '0 1 29-31 * *': { minutes: [0], hours: [1], days: [29, 30, 31] },
});

/** The clock of a zone, computed from the parts of a date and so in another way than the product's. */
function clock(timeZone: string): (time: number) => number {
  const format = new Intl.DateTimeFormat('en-GB', {
    timeZone,
    hourCycle: 'h23',
    ...{ year: 'numeric', month: 'numeric', day: 'numeric', hour: 'numeric', minute: 'numeric' },
  });
  return (time) => {
    const [day, month, year, hour, minute] = (format.format(time).match(/\d+/g) ?? []).map(Number);
    return Date.UTC(year ?? 0, (month ?? 0) - 1, day, hour, minute);
  };
}

/** The first minutes after clock changes. */
function* changes(reading: (time: number) => number): Generator<number> {
  const offset = (time: number) => reading(time) - time;
  for (let time = FROM; time < UNTIL; time += 3 * DAY) {
    if (offset(time) === offset(time + 3 * DAY)) continue;
    let [low, high] = [time, time + 3 * DAY];
    while (high - low > MINUTE) {
      const middle = low + Math.floor((high - low) / MINUTE / 2) * MINUTE;
      if (offset(middle) === offset(low)) low = middle;
      else high = middle;
    }
    yield high;
  }
}

/** Goes through a time minute by minute, and looks at the clock. */
function* slowly(fields: Fields, readings: Map<number, number>) {
  const matches = (shown: number) => {
    const date = new Date(shown);
    return (
      fields.minutes.includes(date.getUTCMinutes()) &&
      fields.hours.includes(date.getUTCHours()) &&
      (fields.days?.includes(date.getUTCDate()) ?? true) &&
      (fields.weekdays?.includes(date.getUTCDay()) ?? true)
    );
  };
  /** The times at which skipped readings come. */
  const skipped = new Set<number>();
  let latest = -Infinity;
  for (const [time, shown] of readings) {
    const isAgain = shown <= latest;
    const jump = shown - latest - MINUTE;
    if (jump > 0 && jump < Infinity)
      for (let late = 0; late < jump; late += MINUTE)
        if (matches(latest + MINUTE + late)) skipped.add(time + late);
    if ((matches(shown) && (!isAgain || fields.hours.length === 24)) || skipped.has(time)) yield time;
    latest = Math.max(latest, shown);
  }
}

const zones = Intl.supportedValuesOf('timeZone');

/** Every change of every zone; or else one of those at the same time of day with the same difference. */
const distinct = new Map<string, { zone: string; change: number }>();
for (const zone of zones) {
  const reading = clock(zone);
  for (const change of changes(reading)) {
    const [before, after] = [reading(change - MINUTE), reading(change)];
    const like = thorough ? change : before % DAY;
    distinct.set([like, after - before, reading(change) - change].join(' '), { zone, change });
  }
}

test('no zone and no pattern loses a time or runs twice at clock changes', () => {
  expect(distinct.size).toBeGreaterThan(20);
  for (const [place, { zone, change }] of [...distinct.values()].entries()) {
    const reading = clock(zone);
    const [start, end] = [change - 4 * HOUR, change + 28 * HOUR];
    const readings = new Map(from(start, end - 1, MINUTE).map((time) => [time, reading(time)]));
    for (const [pattern, fields] of PATTERNS.filter((_, nth) => thorough || (nth + place) % 3 === 0)) {
      const expected = [...slowly(fields, readings)];
      const found: number[] = [];
      for (let time = start - 1; (time = nextTime({ pattern, timeZone: zone }, time)) < end;)
        found.push(time);
      expect({ zone, pattern, times: found.map(iso) }).toEqual({ zone, pattern, times: expected.map(iso) });
      // Asked at any time, it is the same one.
      for (const time of [change - HOUR, change - 1, change, change + HOUR / 2, change + HOUR])
        expect(nextTime({ pattern, timeZone: zone }, time)).toBe(
          expected.find((each) => each > time) ?? nextTime({ pattern, timeZone: zone }, end - 1),
        );
    }
  }
});

(thorough ? test : test.skip)('every zone has each night once over ten years', () => {
  const zonesOfChanges = new Map(zones.map((zone) => [JSON.stringify([...changes(clock(zone))]), zone]));
  for (const zone of zonesOfChanges.values()) {
    const reading = clock(zone);
    let time = FROM;
    for (let date = day(reading(time)); time < UNTIL; date++) {
      time = nextTime({ pattern: '0 0 * * *', timeZone: zone }, time);
      expect({ zone, date: day(reading(time)) }).toEqual({ zone, date: date + 1 });
    }
  }
});

const day = (reading: number) => Math.floor(reading / DAY);
const iso = (time: number) => new Date(time).toISOString();
