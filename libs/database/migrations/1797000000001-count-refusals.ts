import type { MigrationInterface, QueryRunner } from 'typeorm';

/** Counts the calls of an audit event: several refused calls share one event. */
export class CountRefusals1797000000001 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query('ALTER TABLE snapshotd.audit_event ADD count integer NOT NULL DEFAULT 1');
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('ALTER TABLE snapshotd.audit_event DROP count');
  }
}
