import { Column, Entity, Index, PrimaryColumn } from 'typeorm';
import type { VerificationLevel } from '#contracts';

/** An archive that a schedule made. Its pruning deletes only these. */
@Entity({ schema: 'snapshotd', name: 'schedule_archive' })
export class ScheduleArchive {
  /** Its backupUrl, which distinguishes it from an archive of the same key in another bucket. */
  @PrimaryColumn('text')
  url!: string;

  @Column('text')
  key!: string;

  @Column('text')
  @Index()
  schedule!: string;

  /** The repository that it is of. */
  @Column('text', { default: 'default' })
  repository!: string;

  /** The id of its backup job. */
  @Column('text')
  daemon!: string;

  /** When its backup was started. The retention counts days to years by this time. */
  @Column('timestamptz', { name: 'created_on' })
  createdOn!: Date;

  @Column('timestamptz', { name: 'completed_on' })
  completedOn!: Date;

  @Column('timestamptz', { name: 'verified_on', nullable: true })
  verifiedOn!: Date | null;

  @Column('text', { name: 'verified_by', nullable: true })
  verifiedBy!: VerificationLevel | null;

  /** How long that verification took. */
  @Column('double precision', { name: 'verification_seconds', nullable: true })
  verificationSeconds!: number | null;

  /** Whether it lacks rows compared with an earlier archive: see SHRINK_WARNING_PERCENT. */
  @Column('boolean', { default: false })
  shrunk!: boolean;

  /** When somebody confirmed that loss. */
  @Column('timestamptz', { name: 'confirmed_on', nullable: true })
  confirmedOn!: Date | null;
}
