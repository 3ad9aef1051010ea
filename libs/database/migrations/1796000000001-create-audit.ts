import type { MigrationInterface, QueryRunner } from 'typeorm';

export class CreateAudit1796000000001 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      CREATE TABLE snapshotd.audit_event (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        happened_on timestamptz NOT NULL DEFAULT now(),
        account text NOT NULL,
        key_name text,
        action text NOT NULL,
        subject text,
        address text NOT NULL
      );
      CREATE INDEX ON snapshotd.audit_event (happened_on);
      CREATE INDEX ON snapshotd.audit_event (account, id);
      CREATE INDEX ON snapshotd.audit_event (action, id);
      CREATE TABLE snapshotd.audit_outcome (
        event_id bigint PRIMARY KEY REFERENCES snapshotd.audit_event,
        ended_on timestamptz NOT NULL DEFAULT now(),
        status smallint NOT NULL,
        made text
      );
      CREATE FUNCTION snapshotd.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
          RAISE EXCEPTION 'The audit is append-only: % on %.% is refused.', TG_OP, TG_TABLE_SCHEMA, TG_TABLE_NAME
            USING ERRCODE = 'insufficient_privilege';
        END $$;
      CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON snapshotd.audit_event
        EXECUTE FUNCTION snapshotd.refuse_change();
      CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON snapshotd.audit_outcome
        EXECUTE FUNCTION snapshotd.refuse_change();
      -- Also in a session whose session_replication_role disables ordinary triggers.
      ALTER TABLE snapshotd.audit_event ENABLE ALWAYS TRIGGER append_only;
      ALTER TABLE snapshotd.audit_outcome ENABLE ALWAYS TRIGGER append_only;`);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`
      DROP TABLE snapshotd.audit_outcome, snapshotd.audit_event;
      DROP FUNCTION snapshotd.refuse_change();`);
  }
}
