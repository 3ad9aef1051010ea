import { Column, CreateDateColumn, Entity, Index, JoinColumn, ManyToOne, PrimaryColumn } from 'typeorm';
import { Account } from './account.entity.js';

/** A login. Only the client knows the token itself. */
@Entity({ schema: 'snapshotd', name: 'session' })
export class LoginSession {
  /** SHA-256 of the token. */
  @PrimaryColumn('bytea', { name: 'token_hash' })
  tokenHash!: Buffer;

  @ManyToOne(() => Account, { onDelete: 'CASCADE', nullable: false })
  @JoinColumn({ name: 'account_id' })
  @Index()
  account!: Account;

  @CreateDateColumn({ type: 'timestamptz', name: 'created_on' })
  createdOn!: Date;

  @Column('timestamptz', { name: 'expires_on' })
  @Index()
  expiresOn!: Date;
}
