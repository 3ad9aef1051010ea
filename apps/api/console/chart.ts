const DAY_MS = 24 * 60 * 60 * 1000;
export const CHART_DAYS = 14;

/** The backups of a day, which begins at midnight UTC. */
export interface Day {
  /** Such as 2026-11-25. */
  date: string;
  /** The size of the largest archive. */
  bytes: number;
  /** The duration of the longest backup, in milliseconds. */
  duration: number;
  completed: number;
  failed: number;
}

/** The start of a chart's first day: milliseconds since 1970. */
export function chartStart(now: number): number {
  return Math.floor(now / DAY_MS) * DAY_MS - (CHART_DAYS - 1) * DAY_MS;
}

/** The last days, the oldest first. */
export function chartDays(
  now: number,
  archives: Iterable<{ createdOn: number; bytes: number }>,
  backups: Iterable<{ endedOn: number; duration: number; failed: boolean }>,
): Day[] {
  const start = chartStart(now);
  const days = Array.from({ length: CHART_DAYS }, (_, index) => ({
    date: new Date(start + index * DAY_MS).toISOString().slice(0, 10),
    bytes: 0,
    duration: 0,
    completed: 0,
    failed: 0,
  }));
  const dayOf = (time: number) => days[Math.floor((time - start) / DAY_MS)];
  for (const { createdOn, bytes } of archives) {
    const day = dayOf(createdOn);
    if (day !== undefined) day.bytes = Math.max(day.bytes, bytes);
  }
  for (const { endedOn, duration, failed } of backups) {
    const day = dayOf(endedOn);
    if (day === undefined) continue;
    if (failed) day.failed++;
    else {
      day.completed++;
      day.duration = Math.max(day.duration, duration);
    }
  }
  return days;
}
