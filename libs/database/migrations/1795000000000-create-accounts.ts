import type { MigrationInterface, QueryRunner } from 'typeorm';

export class CreateAccounts1795000000000 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      CREATE TABLE snapshotd.account (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        email text NOT NULL UNIQUE CHECK (email = lower(email)),
        display_name text NOT NULL,
        password_hash text NOT NULL,
        administrator boolean NOT NULL DEFAULT false,
        created_on timestamptz NOT NULL DEFAULT now()
      );
      CREATE TABLE snapshotd.session (
        token_hash bytea PRIMARY KEY,
        account_id bigint NOT NULL REFERENCES snapshotd.account ON DELETE CASCADE,
        created_on timestamptz NOT NULL DEFAULT now(),
        expires_on timestamptz NOT NULL
      );
      CREATE INDEX ON snapshotd.session (account_id);
      CREATE INDEX ON snapshotd.session (expires_on);
      -- Login attempts. Each count expires at a time in milliseconds since 1970.
      CREATE TABLE snapshotd.login_limit (
        key varchar(255) PRIMARY KEY,
        points integer NOT NULL DEFAULT 0,
        expire bigint
      );`);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('DROP TABLE snapshotd.login_limit, snapshotd.session, snapshotd.account');
  }
}
