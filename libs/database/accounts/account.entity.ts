import { Column, CreateDateColumn, Entity, PrimaryGeneratedColumn } from 'typeorm';

/** An account that may log in. */
@Entity({ schema: 'snapshotd', name: 'account' })
export class Account {
  @PrimaryGeneratedColumn('identity', { type: 'bigint', generatedIdentity: 'ALWAYS' })
  id!: string;

  /** In lower case, so that one address is one account. */
  @Column('text', { unique: true })
  email!: string;

  @Column('text', { name: 'display_name' })
  displayName!: string;

  /** Argon2id in PHC string format: algorithm, parameters, salt and hash in one. */
  @Column('text', { name: 'password_hash' })
  passwordHash!: string;

  @Column('boolean', { default: false })
  administrator!: boolean;

  /** False for an account that can do nothing. Its row stays, because the audit and the jobs name it. */
  @Column('boolean', { default: true })
  active!: boolean;

  @CreateDateColumn({ type: 'timestamptz', name: 'created_on' })
  createdOn!: Date;
}
