import type { DataSource } from 'typeorm';

/** The metrics of a schedule. */
export interface ScheduleFigures {
  schedule: string;
  enabled: boolean;
  /** Whether its runs verify their backups. */
  verifies: boolean;
  /** Seconds since its last completed backup; null without one. */
  completedAge: number | null;
  /** Seconds since the last verification of its backups; null without one. */
  verifiedAge: number | null;
  /** Seconds since its backups lack rows without a confirmation; 0 if they do not. */
  lostRowsAge: number;
}

/** Reads the metrics of schedules, by the database's clock. Times in its future came from a wrong clock and do not count. */
export function scheduleFigures(database: DataSource): Promise<ScheduleFigures[]> {
  return database.query<ScheduleFigures[]>(
    `SELECT s.name AS schedule, s.enabled, s.after_backup <> 'nothing' AS verifies,
            extract(epoch FROM now() - max(a.completed_on) FILTER (WHERE a.completed_on <= now()))::float8 AS "completedAge",
            extract(epoch FROM now() - max(a.verified_on) FILTER (WHERE a.verified_on <= now()))::float8 AS "verifiedAge",
            coalesce(extract(epoch FROM now() - min(least(a.completed_on, now())) FILTER (WHERE a.shrunk AND a.confirmed_on IS NULL)), 0)::float8 AS "lostRowsAge"
       FROM snapshotd.schedule s LEFT JOIN snapshotd.schedule_archive a ON a.schedule = s.name
      GROUP BY s.name ORDER BY s.name`,
  );
}
