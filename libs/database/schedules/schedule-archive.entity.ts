import { Column, Entity, Index, PrimaryColumn } from 'typeorm';

/** An archive that a schedule made: only these may its pruning delete. */
@Entity({ schema: 'snapshotd', name: 'schedule_archive' })
export class ScheduleArchive {
  /** Its backupUrl, which tells it from one of the same key in another bucket. */
  @PrimaryColumn('text')
  url!: string;

  @Column('text')
  key!: string;

  @Column('text')
  @Index()
  schedule!: string;

  /** The id of the daemon that made it. */
  @Column('text')
  daemon!: string;

  /** When its backup was started: by this it is counted among days, weeks, months and years. */
  @Column('timestamptz', { name: 'created_on' })
  createdOn!: Date;

  @Column('timestamptz', { name: 'completed_on' })
  completedOn!: Date;

  @Column('timestamptz', { name: 'verified_on', nullable: true })
  verifiedOn!: Date | null;

  @Column('text', { name: 'verified_by', nullable: true })
  verifiedBy!: 'READ' | 'RESTORE_DRILL' | null;
}
