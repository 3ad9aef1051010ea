import type { MigrationInterface, QueryRunner } from 'typeorm';

/** Creates the table of the repositories besides the default one. Schedules back them up, and the audit names them. */
export class CreateRepositories1799000000000 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      CREATE TABLE snapshotd.repository (
        name text PRIMARY KEY CHECK (name ~ '^[a-z0-9][a-z0-9_-]{0,39}$' AND name <> 'default'),
        sealed_url text CHECK ((sealed_url IS NULL) = (deleted_on IS NOT NULL)),
        target jsonb NOT NULL,
        scope jsonb NOT NULL,
        jobs integer,
        definitions text CHECK (definitions IN ('auto', 'required', 'off')),
        sealed_drill_url text,
        drill_target jsonb,
        prefix text NOT NULL UNIQUE,
        created_by text NOT NULL,
        created_on timestamptz NOT NULL DEFAULT now(),
        deleted_on timestamptz
      );
      ALTER TABLE snapshotd.schedule ADD repository text NOT NULL DEFAULT 'default', ADD recover jsonb;
      ALTER TABLE snapshotd.schedule_run ADD recover jsonb;
      ALTER TABLE snapshotd.schedule_archive ADD repository text NOT NULL DEFAULT 'default';
      ALTER TABLE snapshotd.audit_event ADD repository text;`);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`
      ALTER TABLE snapshotd.audit_event DROP repository;
      ALTER TABLE snapshotd.schedule_archive DROP repository;
      ALTER TABLE snapshotd.schedule_run DROP recover;
      ALTER TABLE snapshotd.schedule DROP repository, DROP recover;
      DROP TABLE snapshotd.repository;`);
  }
}
