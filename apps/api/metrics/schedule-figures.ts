import type { DataSource } from 'typeorm';
import type { VerificationLevel } from '#contracts';

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

/** The last verification of an archive that a schedule has made, of a level. */
export interface VerifiedFigures {
  level: VerificationLevel;
  /** Seconds since then. */
  age: number;
  /** How long it took; null if an older version ran it. */
  seconds: number | null;
}

/** Reads the last verifications of all schedules, by the database's clock. Unlike the queue, the table never forgets. */
export function verifiedFigures(database: DataSource): Promise<VerifiedFigures[]> {
  return database.query<VerifiedFigures[]>(
    `SELECT DISTINCT ON (verified_by) verified_by AS level, extract(epoch FROM now() - verified_on)::float8 AS age,
            verification_seconds AS seconds
       FROM snapshotd.schedule_archive WHERE verified_on <= now() ORDER BY verified_by, verified_on DESC`,
  );
}
