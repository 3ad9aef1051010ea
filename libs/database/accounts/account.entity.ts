import { Column, CreateDateColumn, Entity, PrimaryGeneratedColumn } from 'typeorm';

/** Someone who may log in. */
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

  /** One that is not can do nothing any more; it stays, because its name stands in what it did. */
  @Column('boolean', { default: true })
  active!: boolean;

  @CreateDateColumn({ type: 'timestamptz', name: 'created_on' })
  createdOn!: Date;
}
