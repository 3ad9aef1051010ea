import type { MigrationInterface, QueryRunner } from 'typeorm';

/** How many calls an event of the audit stands for: several refused ones are one event. */
export class CountRefusals1797000000001 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query('ALTER TABLE snapshotd.audit_event ADD count integer NOT NULL DEFAULT 1');
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('ALTER TABLE snapshotd.audit_event DROP count');
  }
}
