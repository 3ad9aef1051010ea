import type { DataSource } from 'typeorm';

/** A schedule in numbers. */
export interface ScheduleFigures {
  schedule: string;
  enabled: boolean;
  /** Whether a run verifies its backup. */
  verifies: boolean;
  /** Seconds since its last backup completed; null when none has. */
  completedAge: number | null;
  /** Seconds since a backup of it was last verified; null when none was. */
  verifiedAge: number | null;
}

/** By the database's clock, which is the same to all APIs. Times in its future came from a wrong clock and do not count. */
export function scheduleFigures(database: DataSource): Promise<ScheduleFigures[]> {
  return database.query<ScheduleFigures[]>(
    `SELECT s.name AS schedule, s.enabled, s.after_backup <> 'nothing' AS verifies,
            extract(epoch FROM now() - max(a.completed_on) FILTER (WHERE a.completed_on <= now()))::float8 AS "completedAge",
            extract(epoch FROM now() - max(a.verified_on) FILTER (WHERE a.verified_on <= now()))::float8 AS "verifiedAge"
       FROM snapshotd.schedule s LEFT JOIN snapshotd.schedule_archive a ON a.schedule = s.name
      GROUP BY s.name ORDER BY s.name`,
  );
}
