import { Column, CreateDateColumn, Entity, PrimaryGeneratedColumn } from 'typeorm';

/** A person or a group that owns content and is granted access. */
@Entity({ schema: 'repository', name: 'principal' })
export class Principal {
  @PrimaryGeneratedColumn('identity', { type: 'bigint', generatedIdentity: 'BY DEFAULT' })
  id!: string;

  @Column('text', { unique: true })
  name!: string;

  /** True for a person, false for a group. */
  @Column('boolean', { default: true })
  individual!: boolean;

  @CreateDateColumn({ type: 'timestamptz', name: 'created_on' })
  createdOn!: Date;
}
