import type { Retention } from '#contracts';

/** An archive as the rules see it. */
export interface PlannedArchive {
  key: string;
  /** Milliseconds since 1970. */
  createdOn: number;
  /** Whether it could be restored when it was last verified. */
  verified: boolean;
}

export interface PruningPlan<Archive extends PlannedArchive = PlannedArchive> {
  /** Newest first, with the reasons. */
  keep: { archive: Archive; because: string[] }[];
  /** Newest first. */
  delete: Archive[];
}

export interface PruningRules {
  retention: Retention;
  /** In which days, weeks, months and years are counted. */
  timeZone: string;
  /** Whether the schedule's archives are verified: then one that was not takes no place of one that was. */
  verifies: boolean;
}

/**
 * Decides which archives of a schedule go, by the rules of restic's `forget`: of the last days that have an archive
 * the newest one of each, and so with weeks, months and years; as long as one of these counts has places left, the
 * oldest archive is kept too, so that years can be counted from the first one on. The newest archive and the newest
 * verified one stay whatever the rules say. An archive that was deleted needs no rule: what is planned for the
 * archives that stay is that they stay.
 */
export function planPruning<Archive extends PlannedArchive>(
  archives: readonly Archive[],
  { retention, timeZone, verifies }: PruningRules,
): PruningPlan<Archive> {
  const newestFirst = [...archives].sort(
    (a, b) => b.createdOn - a.createdOn || (a.key < b.key ? 1 : a.key > b.key ? -1 : 0),
  );
  const reasons = new Map<Archive, string[]>(newestFirst.map((archive) => [archive, []]));
  const keep = (archive: Archive, reason: string) => reasons.get(archive)?.push(reason);
  const keepAnyway = (archive: Archive | undefined, reason: string) => {
    if (archive !== undefined && reasons.get(archive)?.length === 0) keep(archive, reason);
  };

  const takesPlace = ({ verified }: Archive) => verified || !verifies;
  keepLast(newestFirst, retention.last ?? 0, takesPlace, keep);
  const periodsOf = calendar(timeZone);
  for (const rule of ['daily', 'weekly', 'monthly', 'yearly'] as const)
    keepPeriods(newestFirst, retention[rule] ?? 0, takesPlace, keep, {
      rule,
      periodOf: (archive) => periodsOf(archive.createdOn)[rule],
    });
  keepAnyway(newestFirst[0], 'newest');
  keepAnyway(
    newestFirst.find(({ verified }) => verified),
    'newest verified',
  );

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
  takesPlace: (archive: Archive) => boolean,
  keep: Keep<Archive>,
): void {
  let places = count;
  for (const archive of newestFirst) {
    if (places === 0) return;
    keep(archive, 'last');
    if (takesPlace(archive)) places--;
  }
}

function keepPeriods<Archive>(
  newestFirst: readonly Archive[],
  count: number,
  takesPlace: (archive: Archive) => boolean,
  keep: Keep<Archive>,
  { rule, periodOf }: { rule: string; periodOf: (archive: Archive) => string },
): void {
  let places = count;
  /** The periods of which one was kept that took the place, and one that did not. */
  let taken: string | undefined;
  let met: string | undefined;
  let last: Archive | undefined;
  for (const archive of newestFirst) {
    if (places === 0) return;
    const period = periodOf(archive);
    if (period === taken) continue;
    if (takesPlace(archive)) {
      taken = period;
      places--;
    } else if (period === met) continue;
    met = period;
    last = archive;
    keep(archive, `${rule} ${period}`);
  }
  const oldest = newestFirst.at(-1);
  if (places > 0 && oldest !== undefined && oldest !== last)
    keep(oldest, `oldest, until ${rule} has its ${count}`);
}

type Periods = Record<'daily' | 'weekly' | 'monthly' | 'yearly', string>;

/** Gives the day, ISO week, month and year that a time falls into where the clocks go by this zone. */
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

/** The week that a date belongs to, which is the one of its Thursday, such as 2026-W53. */
function isoWeek(date: string): string {
  const midnight = new Date(`${date}T00:00:00Z`);
  const thursday = new Date(midnight.getTime() + (4 - (midnight.getUTCDay() || 7)) * DAY_MS);
  const year = thursday.getUTCFullYear();
  const week = Math.floor((thursday.getTime() - Date.UTC(year, 0, 1)) / (7 * DAY_MS)) + 1;
  return `${year}-W${String(week).padStart(2, '0')}`;
}
