import type { MigrationInterface, QueryRunner } from 'typeorm';

export class CreateSchedules1796000002000 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      -- Compared times have the precision of JavaScript.
      CREATE TABLE snapshotd.schedule (
        name text PRIMARY KEY CHECK (name ~ '^[A-Za-z0-9._-]{1,64}$'),
        pattern text NOT NULL,
        time_zone text NOT NULL,
        after_backup text NOT NULL CHECK (after_backup IN ('nothing', 'verify', 'restoreDrill')),
        retention jsonb,
        enabled boolean NOT NULL,
        created_by text NOT NULL,
        created_on timestamptz NOT NULL DEFAULT now(),
        settled_on timestamptz(3) NOT NULL
      );
      -- One row per schedule: a schedule has at most one run at a time.
      CREATE TABLE snapshotd.schedule_run (
        schedule text PRIMARY KEY REFERENCES snapshotd.schedule ON DELETE CASCADE,
        due_on timestamptz(3) NOT NULL,
        started_on timestamptz NOT NULL,
        after_backup text NOT NULL,
        status text NOT NULL CHECK (status IN ('IN_PROGRESS', 'COMPLETED', 'FAILED')),
        backup_daemon text,
        archive text,
        verify_daemon text,
        skipped integer NOT NULL DEFAULT 0,
        error_message text
      );
      CREATE TABLE snapshotd.schedule_archive (
        url text PRIMARY KEY,
        key text NOT NULL,
        schedule text NOT NULL REFERENCES snapshotd.schedule ON DELETE CASCADE,
        daemon text NOT NULL,
        created_on timestamptz NOT NULL,
        completed_on timestamptz NOT NULL,
        verified_on timestamptz,
        verified_by text CHECK (verified_by IN ('READ', 'RESTORE_DRILL')),
        CHECK ((verified_on IS NULL) = (verified_by IS NULL))
      );
      CREATE INDEX ON snapshotd.schedule_archive (schedule);`);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('DROP TABLE snapshotd.schedule_archive, snapshotd.schedule_run, snapshotd.schedule');
  }
}
