import { CronExpressionParser } from 'cron-parser';

interface Times {
  pattern: string;
  timeZone: string;
}

/** Fields are separated by blanks; a word such as @daily stands for five. */
const SHAPE = /^(@[a-z]+|\S+( +\S+){4,5})$/;

/** Means a time that is drawn by lot, each time anew. */
const BY_LOT = /(^|[\s,])H/i;

/** The next time of a pattern after another one: both milliseconds since 1970. As BullMQ reckons it. */
export function nextTime({ pattern, timeZone }: Times, after: number): number {
  return CronExpressionParser.parse(pattern, { currentDate: new Date(after), tz: timeZone })
    .next()
    .getTime();
}

/** What is wrong with a pattern. */
export function patternFault(pattern: string): string | undefined {
  if (!SHAPE.test(pattern))
    return 'the pattern must have five fields (minute, hour, day of month, month, day of week), or six with seconds first, such as "30 2 * * *"';
  if (BY_LOT.test(pattern)) return 'the pattern must not hold H: say a time';
  try {
    nextTime({ pattern, timeZone: 'UTC' }, Date.now());
    return undefined;
  } catch (error) {
    return `the pattern is none of cron's: ${(error as Error).message}`;
  }
}

/** What is wrong with the name of a time zone. */
export function timeZoneFault(timeZone: string): string | undefined {
  try {
    new Intl.DateTimeFormat('en', { timeZone });
    nextTime({ pattern: '@daily', timeZone }, Date.now());
    return undefined;
  } catch {
    return `there is no time zone ${timeZone}: give a name such as Europe/Berlin`;
  }
}
