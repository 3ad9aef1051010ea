import type { MigrationInterface, QueryRunner } from 'typeorm';

/** Names the levels of verifications. The words before meant FIT and DRILL. */
export class NameVerificationLevels1798000000000 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      ALTER TABLE snapshotd.schedule DROP CONSTRAINT schedule_after_backup_check;
      ALTER TABLE snapshotd.schedule_archive DROP CONSTRAINT schedule_archive_verified_by_check,
        ADD verification_seconds double precision;
      UPDATE snapshotd.schedule
         SET after_backup = CASE after_backup WHEN 'verify' THEN 'FIT' WHEN 'restoreDrill' THEN 'DRILL' ELSE after_backup END;
      UPDATE snapshotd.schedule_run
         SET after_backup = CASE after_backup WHEN 'verify' THEN 'FIT' WHEN 'restoreDrill' THEN 'DRILL' ELSE after_backup END;
      UPDATE snapshotd.schedule_archive
         SET verified_by = CASE verified_by WHEN 'READ' THEN 'FIT' WHEN 'RESTORE_DRILL' THEN 'DRILL' END;
      ALTER TABLE snapshotd.schedule
        ADD CONSTRAINT schedule_after_backup_check CHECK (after_backup IN ('nothing', 'READ', 'FIT', 'DRILL'));
      ALTER TABLE snapshotd.schedule_archive
        ADD CONSTRAINT schedule_archive_verified_by_check CHECK (verified_by IN ('READ', 'FIT', 'DRILL'));`);
  }

  /** READ has no word before: it becomes the one for FIT, which proves more. */
  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`
      ALTER TABLE snapshotd.schedule DROP CONSTRAINT schedule_after_backup_check;
      ALTER TABLE snapshotd.schedule_archive DROP CONSTRAINT schedule_archive_verified_by_check,
        DROP verification_seconds;
      UPDATE snapshotd.schedule
         SET after_backup = CASE WHEN after_backup IN ('READ', 'FIT') THEN 'verify' WHEN after_backup = 'DRILL' THEN 'restoreDrill' ELSE after_backup END;
      UPDATE snapshotd.schedule_run
         SET after_backup = CASE WHEN after_backup IN ('READ', 'FIT') THEN 'verify' WHEN after_backup = 'DRILL' THEN 'restoreDrill' ELSE after_backup END;
      UPDATE snapshotd.schedule_archive
         SET verified_on = CASE verified_by WHEN 'READ' THEN NULL ELSE verified_on END,
             verified_by = CASE verified_by WHEN 'FIT' THEN 'READ' WHEN 'DRILL' THEN 'RESTORE_DRILL' END;
      ALTER TABLE snapshotd.schedule
        ADD CONSTRAINT schedule_after_backup_check CHECK (after_backup IN ('nothing', 'verify', 'restoreDrill'));
      ALTER TABLE snapshotd.schedule_archive
        ADD CONSTRAINT schedule_archive_verified_by_check CHECK (verified_by IN ('READ', 'RESTORE_DRILL'));`);
  }
}
