import { Column, CreateDateColumn, Entity, PrimaryColumn } from 'typeorm';
import type { AfterBackup, RecoverStep, Retention } from '#contracts';

/** A schedule of backups. */
@Entity({ schema: 'snapshotd', name: 'schedule' })
export class Schedule {
  @PrimaryColumn('text')
  name!: string;

  @Column('text', { default: 'default' })
  repository!: string;

  /** A cron pattern of five fields, or of six, seconds first. */
  @Column('text')
  pattern!: string;

  /** A name of the IANA database: the time zone of the pattern, and of the days to years of the retention. */
  @Column('text', { name: 'time_zone' })
  timeZone!: string;

  @Column('text', { name: 'after_backup' })
  afterBackup!: AfterBackup;

  /** Set if a run recovers its archive in place of another repository's database. `afterBackup` is `nothing` then. */
  @Column('jsonb', { nullable: true })
  recover!: RecoverStep | null;

  /** Null keeps everything. */
  @Column('jsonb', { nullable: true })
  retention!: Retention | null;

  @Column('boolean')
  enabled!: boolean;

  /** An administrator's email. */
  @Column('text', { name: 'created_by' })
  createdBy!: string;

  @CreateDateColumn({ type: 'timestamptz', name: 'created_on' })
  createdOn!: Date;

  /** Each time of the pattern up to here has had its run, or was skipped. */
  @Column({ type: 'timestamptz', name: 'settled_on', precision: 3 })
  settledOn!: Date;
}
