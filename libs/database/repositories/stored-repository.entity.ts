import { Column, CreateDateColumn, Entity, PrimaryColumn } from 'typeorm';
import type { Scope } from '#config';
import type { DatabaseTarget } from '#contracts';

/** A repository that is not the one of the settings. A deleted one keeps its name and its folder in the bucket. */
@Entity({ schema: 'snapshotd', name: 'repository' })
export class StoredRepository {
  @PrimaryColumn('text')
  name!: string;

  /** Opens with SECRET_KEY. Null once it is deleted. */
  @Column('text', { name: 'sealed_url', nullable: true })
  sealedUrl!: string | null;

  /** The URL without its password. */
  @Column('jsonb')
  target!: DatabaseTarget;

  @Column('jsonb')
  scope!: Scope;

  /** The sessions that read at once. */
  @Column('integer', { nullable: true })
  jobs!: number | null;

  @Column('text', { nullable: true })
  definitions!: 'auto' | 'required' | 'off' | null;

  @Column('text', { name: 'sealed_drill_url', nullable: true })
  sealedDrillUrl!: string | null;

  @Column('jsonb', { name: 'drill_target', nullable: true })
  drillTarget!: DatabaseTarget | null;

  /** The folder of its archives below S3_PREFIX, such as `crm/`. */
  @Column('text', { unique: true })
  prefix!: string;

  /** An administrator's email. */
  @Column('text', { name: 'created_by' })
  createdBy!: string;

  @CreateDateColumn({ type: 'timestamptz', name: 'created_on' })
  createdOn!: Date;

  @Column('timestamptz', { name: 'deleted_on', nullable: true })
  deletedOn!: Date | null;
}
