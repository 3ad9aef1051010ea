import type { MigrationInterface, QueryRunner } from 'typeorm';

/**
 * Gives the tables of the default repository to the owner of its schema, if the API may act as that role. That is the
 * workers' role if the API has a separate one: a restore needs to own the tables.
 */
export class GiveRepositoryToItsOwner1797000000002 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      DO $$
      DECLARE
        owner name := (SELECT r.rolname FROM pg_catalog.pg_namespace n JOIN pg_catalog.pg_roles r ON r.oid = n.nspowner
                        WHERE n.nspname = 'repository');
        one text;
      BEGIN
        IF owner = current_user OR pg_catalog.current_setting('is_superuser') = 'on'
           OR NOT pg_catalog.pg_has_role(owner, 'MEMBER') THEN
          RETURN;
        END IF;
        FOREACH one IN ARRAY ARRAY['principal', 'node', 'revision', 'access_control_list', 'access_grant'] LOOP
          EXECUTE pg_catalog.format('ALTER TABLE repository.%I OWNER TO %I', one, owner);
        END LOOP;
      END
      $$`);
  }

  async down(): Promise<void> {
    // The former owners are not known.
  }
}
