import type { MigrationInterface, QueryRunner } from 'typeorm';

/** Accounts that can be deactivated, and keys for scripts. */
export class CreateApiKeys1796000000000 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      ALTER TABLE snapshotd.account ADD active boolean NOT NULL DEFAULT true;
      CREATE TABLE snapshotd.api_key (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        name text NOT NULL UNIQUE,
        key_hash bytea NOT NULL UNIQUE,
        scope text NOT NULL CHECK (scope IN ('read', 'start', 'everything')),
        account_id bigint NOT NULL REFERENCES snapshotd.account ON DELETE CASCADE,
        created_on timestamptz NOT NULL DEFAULT now(),
        expires_on timestamptz,
        last_used_on timestamptz
      );
      CREATE INDEX ON snapshotd.api_key (account_id);`);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`
      DROP TABLE snapshotd.api_key;
      ALTER TABLE snapshotd.account DROP active;`);
  }
}
