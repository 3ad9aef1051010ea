import type { MigrationInterface, QueryRunner } from 'typeorm';

/** When each run was last advanced, so that one that the queue has lost sight of is seen. */
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
