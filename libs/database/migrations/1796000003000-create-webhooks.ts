import type { MigrationInterface, QueryRunner } from 'typeorm';

export class CreateWebhooks1796000003000 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      -- Up to which time each address was notified of ended jobs. Its name is a hash, because a URL may hold secrets.
      CREATE TABLE snapshotd.webhook (
        name text PRIMARY KEY,
        first_set_on timestamptz(3) NOT NULL,
        told_until timestamptz(3) NOT NULL
      );`);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('DROP TABLE snapshotd.webhook');
  }
}
