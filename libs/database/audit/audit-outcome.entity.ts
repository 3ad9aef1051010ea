import {
  Column,
  CreateDateColumn,
  Entity,
  JoinColumn,
  OneToOne,
  PrimaryColumn,
  type Relation,
} from 'typeorm';
import { AuditEvent } from './audit-event.entity.js';

/** How an event ended: a row of its own, because rows of the audit are never changed. */
@Entity({ schema: 'snapshotd', name: 'audit_outcome' })
export class AuditOutcome {
  @PrimaryColumn('bigint', { name: 'event_id' })
  eventId!: string;

  @OneToOne(() => AuditEvent, (event) => event.outcome)
  @JoinColumn({ name: 'event_id' })
  event!: Relation<AuditEvent>;

  @CreateDateColumn({ type: 'timestamptz', name: 'ended_on' })
  endedOn!: Date;

  /** The HTTP status that was answered. */
  @Column('smallint')
  status!: number;

  /** The id of what the call made: a daemon's, an account's, a key's. */
  @Column('text', { nullable: true })
  made!: string | null;
}
