import type { MigrationInterface, QueryRunner } from 'typeorm';

/** Records which archives have lost rows, and when somebody confirmed that: schedules delete no archives until then. */
export class NoteLostRows1797000000003 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(
      `ALTER TABLE snapshotd.schedule_archive
         ADD shrunk boolean NOT NULL DEFAULT false,
         ADD confirmed_on timestamptz CHECK (shrunk OR confirmed_on IS NULL)`,
    );
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('ALTER TABLE snapshotd.schedule_archive DROP shrunk, DROP confirmed_on');
  }
}
