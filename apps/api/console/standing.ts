import { grouped } from '#common';
import type { ScheduleView } from '#contracts';
import type { RepositoryArchives, ScheduleStorage } from '../archives/archive-sums.js';
import { nextTimes } from '../schedules/cron.js';

/** How a repository stands: the worst first. */
export interface Health {
  colour: 'failed' | 'remarked' | 'completed';
  says: string;
}

/** A row of the overview. */
export interface Standing extends Partial<RepositoryArchives> {
  name: string;
  nextRunOn: number | null;
  health: Health;
}

/** How repositories stand, the worst first, then by name. */
export function standings(
  names: string[],
  archives: Map<string, RepositoryArchives>,
  schedules: ScheduleView[],
): Standing[] {
  const schedulesOf = grouped(schedules, ({ repository }) => repository);
  return names
    .map((name): Standing => {
      const own = schedulesOf.get(name) ?? [];
      const found = archives.get(name);
      const next = own.map(({ nextRunOn }) => nextRunOn).filter((on) => on !== null);
      return {
        name,
        ...found,
        nextRunOn: next.length > 0 ? Math.min(...next) : null,
        health: healthOf(found, own),
      };
    })
    .sort((one, other) => ORDER[one.health.colour] - ORDER[other.health.colour]);
}

const ORDER = { failed: 0, remarked: 1, completed: 2 };

function healthOf(archives: RepositoryArchives | undefined, schedules: ScheduleView[]): Health {
  const failed = schedules.find(({ lastRun }) => lastRun?.status === 'FAILED');
  if (failed !== undefined) return { colour: 'failed', says: `The last run of ${failed.name} failed` };
  if (archives?.refuted === true) return { colour: 'failed', says: 'Not restorable: see its archives' };
  const lossy = schedules.find(({ lostRowsSince }) => lostRowsSince !== null);
  if (lossy !== undefined) return { colour: 'remarked', says: `Rows are missing: see ${lossy.name}` };
  if (archives === undefined) return { colour: 'remarked', says: 'No backup yet' };
  if (archives.proven === null) return { colour: 'remarked', says: 'No archive is proven' };
  if (!schedules.some(({ enabled }) => enabled)) return { colour: 'remarked', says: 'No schedule' };
  return { colour: 'completed', says: 'Good' };
}

const DAY_MS = 24 * 60 * 60 * 1000;
/** The days of a forecast. */
export const FORECAST_DAYS = 30;
/** Runs whose mean distance counts. */
const RUNS = 8;
/** The mean distances of runs by pattern and zone, which take longer to find than all else. */
const distances = new Map<string, number>();

/** A row of the storage: the archives of a schedule. */
export interface Storage extends ScheduleStorage {
  /** Undefined stands for the archives of no schedule. */
  schedule: string | undefined;
  /** The bytes in 30 days, if archives keep the size of the last one. */
  forecast: number;
}

/** The storage by schedule, the largest first. */
export function storageOf(
  sums: Map<string | undefined, ScheduleStorage>,
  schedules: ScheduleView[],
): Storage[] {
  const byName = new Map(schedules.map((schedule) => [schedule.name, schedule]));
  return [...sums]
    .map(([name, sum]) => {
      const schedule = name === undefined ? undefined : byName.get(name);
      // A deleted schedule prunes nothing, and its archives stay.
      return { ...sum, schedule: schedule?.name, forecast: forecastOf(sum, schedule) };
    })
    .sort((one, other) => other.bytes - one.bytes);
}

function forecastOf(
  { count, bytes, lastBytes }: ScheduleStorage,
  schedule: ScheduleView | undefined,
): number {
  if (schedule === undefined || !schedule.enabled) return bytes;
  const runs = (FORECAST_DAYS * DAY_MS) / distanceOf(schedule);
  const most =
    schedule.retention === null
      ? Infinity
      : Object.values(schedule.retention).reduce((sum: number, kept = 0) => sum + kept, 0);
  const later = Math.min(count + runs, most);
  return later < count ? (bytes * later) / count : bytes + (later - count) * lastBytes;
}

function distanceOf({ pattern, timeZone }: ScheduleView): number {
  const known = distances.get(`${pattern} ${timeZone}`);
  if (known !== undefined) return known;
  const times = nextTimes({ pattern, timeZone }, Date.now(), RUNS);
  const distance = ((times.at(-1) ?? 0) - (times[0] ?? 0)) / (RUNS - 1);
  if (distances.size > 1_000) distances.clear();
  distances.set(`${pattern} ${timeZone}`, distance);
  return distance;
}
