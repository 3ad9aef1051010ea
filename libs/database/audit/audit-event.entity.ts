import {
  Column,
  CreateDateColumn,
  Entity,
  Index,
  JoinColumn,
  OneToOne,
  PrimaryColumn,
  PrimaryGeneratedColumn,
  type Relation,
} from 'typeorm';

/** A recorded call. It names the email, not the account, so that it outlives the account. */
@Entity({ schema: 'snapshotd', name: 'audit_event' })
@Index(['account', 'id'])
@Index(['action', 'id'])
export class AuditEvent {
  @PrimaryGeneratedColumn('identity', { type: 'bigint', generatedIdentity: 'ALWAYS' })
  id!: string;

  @CreateDateColumn({ type: 'timestamptz', name: 'happened_on' })
  @Index()
  happenedOn!: Date;

  /** The caller's email, or `schedule NAME`; for a failed login, the given email. */
  @Column('text')
  account!: string;

  /** The name of the caller's API key; null for a session. */
  @Column('text', { name: 'key_name', nullable: true })
  keyName!: string | null;

  @Column('text')
  action!: string;

  /** The id, archive or email that the call named. */
  @Column('text', { nullable: true })
  subject!: string | null;

  /** The repository that the call named. */
  @Column('text', { nullable: true })
  repository!: string | null;

  @Column('text')
  address!: string;

  /** The number of calls. Refused calls of one account and action share an event. */
  @Column('integer', { default: 1 })
  count!: number;

  /** Missing while the call runs, and forever if the API died during it. */
  @OneToOne(() => AuditOutcome, (outcome) => outcome.event)
  outcome!: Relation<AuditOutcome> | null;
}

/** The outcome of an event. It has a separate row, because rows of the audit never change. */
@Entity({ schema: 'snapshotd', name: 'audit_outcome' })
export class AuditOutcome {
  @PrimaryColumn('bigint', { name: 'event_id' })
  eventId!: string;

  @OneToOne(() => AuditEvent, (event) => event.outcome)
  @JoinColumn({ name: 'event_id' })
  event!: AuditEvent;

  @CreateDateColumn({ type: 'timestamptz', name: 'ended_on' })
  endedOn!: Date;

  /** The HTTP status of the answer. */
  @Column('smallint')
  status!: number;

  /** The id of the job, account or key that the call created. */
  @Column('text', { nullable: true })
  made!: string | null;
}
