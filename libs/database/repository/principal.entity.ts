import { Column, CreateDateColumn, Entity, PrimaryGeneratedColumn } from 'typeorm';

/** Someone, or a group, that content belongs to and that access is granted to. */
@Entity({ schema: 'repository', name: 'principal' })
export class Principal {
  @PrimaryGeneratedColumn('identity', { type: 'bigint', generatedIdentity: 'BY DEFAULT' })
  id!: string;

  @Column('text', { unique: true })
  name!: string;

  /** A person, as opposed to a group. */
  @Column('boolean', { default: true })
  individual!: boolean;

  @CreateDateColumn({ type: 'timestamptz', name: 'created_on' })
  createdOn!: Date;
}
