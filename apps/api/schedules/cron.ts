import { CronExpressionParser } from 'cron-parser';
import { TimeZone } from './time-zone.js';

interface Times {
  pattern: string;
  timeZone: string;
}

/** Fields are separated by blanks; a word such as @daily stands for five. */
const SHAPE = /^(@[a-z]+|\S+( +\S+){4,5})$/;

/** Means a time that is drawn by lot, each time anew. */
const BY_LOT = /(^|[\s,])H/i;

/**
 * The next time of a pattern after another one: both milliseconds since 1970.
 *
 * A time that the clocks leave out comes later by as much as they are put forward. A time that they show twice comes
 * once; only a pattern that names every hour of the day goes by elapsed time, and comes both times.
 */
export function nextTime({ pattern, timeZone }: Times, after: number): number {
  const zone = TimeZone.of(timeZone);
  const readings = parsed(pattern, after + Math.min(...zone.offsetsNear(after)));
  const isHourly = readings.fields.hour.values.length === 24;
  let next = Infinity;
  // Where the clock is put, times do not come in the order of their readings.
  for (let latest = -Infinity; latest < next;) {
    const reading = readings.next().getTime();
    const times = zone.timesOf(reading);
    for (const time of isHourly ? times : times.slice(0, 1)) if (time > after) next = Math.min(next, time);
    latest = reading - Math.max(...zone.offsetsNear(Math.min(...times)));
  }
  return next;
}

/** A pattern's readings of a clock that is never put. */
function parsed(pattern: string, after: number) {
  return CronExpressionParser.parse(pattern, { currentDate: new Date(after), tz: 'UTC' });
}

/** What is wrong with a pattern. */
export function patternFault(pattern: string): string | undefined {
  if (!SHAPE.test(pattern))
    return 'the pattern must have five fields (minute, hour, day of month, month, day of week), or six with seconds first, such as "30 2 * * *"';
  if (BY_LOT.test(pattern)) return 'the pattern must not hold H: say a time';
  try {
    parsed(pattern, Date.now()).next();
    return undefined;
  } catch (error) {
    return `the pattern is none of cron's: ${(error as Error).message}`;
  }
}

/** What is wrong with the name of a time zone. */
export function timeZoneFault(timeZone: string): string | undefined {
  try {
    TimeZone.of(timeZone);
    return undefined;
  } catch {
    return `there is no time zone ${timeZone}: give a name such as Europe/Berlin`;
  }
}
