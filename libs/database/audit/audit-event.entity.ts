import {
  Column,
  CreateDateColumn,
  Entity,
  Index,
  OneToOne,
  PrimaryGeneratedColumn,
  type Relation,
} from 'typeorm';
import { AuditOutcome } from './audit-outcome.entity.js';

/** Somebody asked for something that is to be remembered. Emails, not accounts, so that it outlives them. */
@Entity({ schema: 'snapshotd', name: 'audit_event' })
@Index(['account', 'id'])
@Index(['action', 'id'])
export class AuditEvent {
  @PrimaryGeneratedColumn('identity', { type: 'bigint', generatedIdentity: 'ALWAYS' })
  id!: string;

  @CreateDateColumn({ type: 'timestamptz', name: 'happened_on' })
  @Index()
  happenedOn!: Date;

  /** The email of who asked, or `schedule NAME`; of a failed login, what was given for one. */
  @Column('text')
  account!: string;

  /** The name of the API key that was used; null for a session. */
  @Column('text', { name: 'key_name', nullable: true })
  keyName!: string | null;

  @Column('text')
  action!: string;

  /** What the call named: an id, an archive, an email. */
  @Column('text', { nullable: true })
  subject!: string | null;

  @Column('text')
  address!: string;

  /** How many calls this stands for: refused ones of one account and action are counted. */
  @Column('integer', { default: 1 })
  count!: number;

  /** Missing as long as the call runs, and for good where the API died in it. */
  @OneToOne(() => AuditOutcome, (outcome) => outcome.event)
  outcome!: Relation<AuditOutcome> | null;
}
