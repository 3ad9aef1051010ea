import { Column, CreateDateColumn, Entity, Index, JoinColumn, ManyToOne, PrimaryColumn } from 'typeorm';
import { Node } from './node.entity.js';
import { Principal } from './principal.entity.js';

/** Annotations by type; each name has a list of values. Longs are strings, because they do not fit JSON numbers. */
export interface Annotations {
  string: Record<string, string[]>;
  long: Record<string, string[]>;
  double: Record<string, number[]>;
  /** ISO 8601. */
  date: Record<string, string[]>;
}

/** A numbered state of a node. */
@Entity({ schema: 'repository', name: 'revision' })
export class Revision {
  @PrimaryColumn('bigint', { name: 'node_id' })
  nodeId!: string;

  /** From 1. */
  @PrimaryColumn('integer')
  number!: number;

  @ManyToOne(() => Node, { onDelete: 'CASCADE' })
  @JoinColumn({ name: 'node_id' })
  node!: Node;

  @Column('text', { nullable: true })
  comment!: string | null;

  @ManyToOne(() => Principal, { nullable: false })
  @JoinColumn({ name: 'modified_by' })
  @Index()
  modifiedBy!: Principal;

  @CreateDateColumn({ type: 'timestamptz', name: 'modified_on' })
  modifiedOn!: Date;

  @Column('jsonb', { default: {} })
  annotations!: Partial<Annotations>;
}
