import { CronExpressionParser } from 'cron-parser';
import { TimeZone } from './time-zone.js';

interface Times {
  pattern: string;
  timeZone: string;
}

/** Five or six fields separated by blanks, or an alias such as @daily. */
const SHAPE = /^(@[a-z]+|\S+( +\S+){4,5})$/;

/** H stands for a random value, which differs at each evaluation. */
const BY_LOT = /(^|[\s,])H/i;

/**
 * The next time of a pattern after a time. Both are milliseconds since 1970.
 *
 * If the clock is put forward past a time, the time comes later by the same amount. If the clock is put back, a time that
 * it shows twice comes once; only a pattern of every hour comes both times.
 */
export function nextTime({ pattern, timeZone }: Times, after: number): number {
  const zone = TimeZone.of(timeZone);
  const readings = parsed(pattern, after + Math.min(...zone.offsetsNear(after)));
  const isHourly = readings.fields.hour.values.length === 24;
  let next = Infinity;
  // Around clock changes, times do not come in the order of their readings.
  for (let latest = -Infinity; latest < next;) {
    const reading = readings.next().getTime();
    const times = zone.timesOf(reading);
    for (const time of isHourly ? times : times.slice(0, 1)) if (time > after) next = Math.min(next, time);
    latest = reading - Math.max(...zone.offsetsNear(Math.min(...times)));
  }
  return next;
}

/** The next times of a pattern after a time, the earliest first. */
export function nextTimes(times: Times, after: number, count: number): number[] {
  const all: number[] = [];
  for (let last = after; all.length < count;) all.push((last = nextTime(times, last)));
  return all;
}

/** The readings of a pattern on a clock without changes. */
function parsed(pattern: string, after: number) {
  return CronExpressionParser.parse(pattern, { currentDate: new Date(after), tz: 'UTC' });
}

/** The fault of a pattern, if it has one. */
export function patternFault(pattern: string): string | undefined {
  if (!SHAPE.test(pattern))
    return 'the pattern must have five fields (minute, hour, day of month, month, day of week), or six with seconds first, such as "30 2 * * *"';
  if (BY_LOT.test(pattern)) return 'the pattern must not contain H: give a time';
  try {
    parsed(pattern, Date.now()).next();
    return undefined;
  } catch (error) {
    return `the pattern is no cron pattern: ${(error as Error).message}`;
  }
}

/** The fault of the name of a time zone, if it has one. */
export function timeZoneFault(timeZone: string): string | undefined {
  try {
    TimeZone.of(timeZone);
    return undefined;
  } catch {
    return `there is no time zone ${timeZone}: give a name such as Europe/Berlin`;
  }
}
