import { Column, Entity, PrimaryColumn } from 'typeorm';
import type { AfterBackup, RecoverStep } from '#contracts';

/** The last run of a schedule, and its progress. */
@Entity({ schema: 'snapshotd', name: 'schedule_run' })
export class ScheduleRun {
  @PrimaryColumn('text')
  schedule!: string;

  /** Identifies the run within its schedule. */
  @Column({ type: 'timestamptz', name: 'due_on', precision: 3 })
  dueOn!: Date;

  @Column('timestamptz', { name: 'started_on' })
  startedOn!: Date;

  /** When its last step was taken. */
  @Column('timestamptz', { name: 'advanced_on', default: () => 'now()' })
  advancedOn!: Date;

  /** The schedule's setting when the run began. */
  @Column('text', { name: 'after_backup' })
  afterBackup!: AfterBackup;

  @Column('jsonb', { nullable: true })
  recover!: RecoverStep | null;

  @Column('text')
  status!: 'IN_PROGRESS' | 'COMPLETED' | 'FAILED';

  /** The id of its backup, once started. */
  @Column('text', { name: 'backup_daemon', nullable: true })
  backupDaemon!: string | null;

  /** The backupUrl of the completed backup, which the queue may have forgotten since. */
  @Column('text', { nullable: true })
  archive!: string | null;

  /** The id of its verification or its recover, once started. */
  @Column('text', { name: 'verify_daemon', nullable: true })
  verifyDaemon!: string | null;

  /** The runs that were due while this one ran. */
  @Column('integer', { default: 0 })
  skipped!: number;

  /** Why it failed, or why a completed run did not do everything: one line. */
  @Column('text', { name: 'error_message', nullable: true })
  errorMessage!: string | null;
}
