import { Column, CreateDateColumn, Entity, JoinColumn, ManyToOne, PrimaryGeneratedColumn } from 'typeorm';
import type { KeyScope } from '#contracts';
import { Account } from './account.entity.js';

/** A key with which a script acts as the account that created it. Only the script knows the key itself. */
@Entity({ schema: 'snapshotd', name: 'api_key' })
export class ApiKey {
  @PrimaryGeneratedColumn('identity', { type: 'bigint', generatedIdentity: 'ALWAYS' })
  id!: string;

  @Column('text', { unique: true })
  name!: string;

  /** SHA-256 of the key. */
  @Column('bytea', { name: 'key_hash', unique: true })
  keyHash!: Buffer;

  @Column('text')
  scope!: KeyScope;

  @ManyToOne(() => Account, { onDelete: 'CASCADE', nullable: false })
  @JoinColumn({ name: 'account_id' })
  account!: Account;

  @CreateDateColumn({ type: 'timestamptz', name: 'created_on' })
  createdOn!: Date;

  /** Null for a key that lasts until it is revoked. */
  @Column('timestamptz', { name: 'expires_on', nullable: true })
  expiresOn!: Date | null;

  /** To the minute. */
  @Column('timestamptz', { name: 'last_used_on', nullable: true })
  lastUsedOn!: Date | null;
}
