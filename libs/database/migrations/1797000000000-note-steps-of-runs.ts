import type { MigrationInterface, QueryRunner } from 'typeorm';

/** Records when each run was last advanced, to find runs whose job the queue has lost. */
export class NoteStepsOfRuns1797000000000 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(
      'ALTER TABLE snapshotd.schedule_run ADD advanced_on timestamptz NOT NULL DEFAULT now()',
    );
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('ALTER TABLE snapshotd.schedule_run DROP advanced_on');
  }
}
