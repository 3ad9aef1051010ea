import { reaches } from '#common';
import type { Retention, VerificationLevel } from '#contracts';

/** The facts of an archive that the rules use. */
export interface PlannedArchive {
  key: string;
  /** Milliseconds since 1970. */
  createdOn: number;
  /** The highest level that its verifications have proven; null if it is unverified or not restorable. */
  reached: VerificationLevel | null;
}

export interface PruningPlan<Archive extends PlannedArchive = PlannedArchive> {
  /** Newest first, with the reasons. */
  keep: { archive: Archive; because: string[] }[];
  /** Newest first. */
  delete: Archive[];
}

export interface PruningRules {
  retention: Retention;
  /** The time zone of days, weeks, months and years. */
  timeZone: string;
  /** The level at which the schedule verifies. Archives that have not reached it do not count towards the limits. */
  level?: VerificationLevel | undefined;
}

/**
 * Decides which archives of a schedule are deleted, by the rules of restic's `forget`. It keeps the newest archive of each
 * of the last days that have one, and likewise of weeks, months and years. As long as one of these limits is not reached,
 * it also keeps the oldest archive, so that years can be counted from the first one on. It always keeps the newest archive,
 * the newest verified one and the newest one that has reached the level. A second run deletes nothing: the plan for the
 * kept archives is to keep them.
 */
export function planPruning<Archive extends PlannedArchive>(
  archives: readonly Archive[],
  { retention, timeZone, level }: PruningRules,
): PruningPlan<Archive> {
  const newestFirst = [...archives].sort(
    (a, b) => b.createdOn - a.createdOn || (a.key < b.key ? 1 : a.key > b.key ? -1 : 0),
  );
  const reasons = new Map<Archive, string[]>(newestFirst.map((archive) => [archive, []]));
  const keep = (archive: Archive, reason: string) => reasons.get(archive)?.push(reason);
  const keepAlways = (archive: Archive | undefined, reason: string) => {
    if (archive !== undefined && reasons.get(archive)?.length === 0) keep(archive, reason);
  };

  const counts = ({ reached }: Archive) => level === undefined || reaches(reached, level);
  keepLast(newestFirst, retention.last ?? 0, counts, keep);
  const periodsOf = calendar(timeZone);
  for (const rule of ['daily', 'weekly', 'monthly', 'yearly'] as const)
    keepPeriods(newestFirst, retention[rule] ?? 0, counts, keep, {
      rule,
      periodOf: (archive) => periodsOf(archive.createdOn)[rule],
    });
  keepAlways(newestFirst[0], 'newest');
  keepAlways(
    newestFirst.find(({ reached }) => reached !== null),
    'newest verified',
  );
  keepAlways(newestFirst.find(counts), `newest verified ${level}`);

  const plan: PruningPlan<Archive> = { keep: [], delete: [] };
  for (const [archive, because] of reasons)
    if (because.length > 0) plan.keep.push({ archive, because });
    else plan.delete.push(archive);
  return plan;
}

type Keep<Archive> = (archive: Archive, reason: string) => unknown;

function keepLast<Archive>(
  newestFirst: readonly Archive[],
  count: number,
  counts: (archive: Archive) => boolean,
  keep: Keep<Archive>,
): void {
  let left = count;
  for (const archive of newestFirst) {
    if (left === 0) return;
    keep(archive, 'last');
    if (counts(archive)) left--;
  }
}

function keepPeriods<Archive>(
  newestFirst: readonly Archive[],
  count: number,
  counts: (archive: Archive) => boolean,
  keep: Keep<Archive>,
  { rule, periodOf }: { rule: string; periodOf: (archive: Archive) => string },
): void {
  let left = count;
  /** The last period with a counted archive, and the last one with a kept archive. */
  let taken: string | undefined;
  let met: string | undefined;
  let last: Archive | undefined;
  for (const archive of newestFirst) {
    if (left === 0) return;
    const period = periodOf(archive);
    if (period === taken) continue;
    if (counts(archive)) {
      taken = period;
      left--;
    } else if (period === met) continue;
    met = period;
    last = archive;
    keep(archive, `${rule} ${period}`);
  }
  const oldest = newestFirst.at(-1);
  if (left > 0 && oldest !== undefined && oldest !== last)
    keep(oldest, `oldest, until ${rule} has its ${count}`);
}

type Periods = Record<'daily' | 'weekly' | 'monthly' | 'yearly', string>;

/** Gives the day, ISO week, month and year of a time in a time zone. */
function calendar(timeZone: string): (time: number) => Periods {
  const dates = new Intl.DateTimeFormat('en-US', {
    timeZone,
    calendar: 'iso8601',
    numberingSystem: 'latn',
    year: 'numeric',
    month: '2-digit',
    day: '2-digit',
  });
  return (time) => {
    const parts = new Map(dates.formatToParts(time).map(({ type, value }) => [type, value]));
    const [year = '', month = '', day = ''] = [parts.get('year'), parts.get('month'), parts.get('day')];
    const monthly = `${year}-${month}`;
    const daily = `${monthly}-${day}`;
    return { daily, weekly: isoWeek(daily), monthly, yearly: year };
  };
}

const DAY_MS = 24 * 60 * 60 * 1000;

/** The ISO week of a date, which is that of its Thursday, such as 2026-W53. */
function isoWeek(date: string): string {
  const midnight = new Date(`${date}T00:00:00Z`);
  const thursday = new Date(midnight.getTime() + (4 - (midnight.getUTCDay() || 7)) * DAY_MS);
  const year = thursday.getUTCFullYear();
  const week = Math.floor((thursday.getTime() - Date.UTC(year, 0, 1)) / (7 * DAY_MS)) + 1;
  return `${year}-W${String(week).padStart(2, '0')}`;
}
