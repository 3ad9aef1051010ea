import {
  Column,
  CreateDateColumn,
  Entity,
  Index,
  JoinColumn,
  ManyToOne,
  PrimaryGeneratedColumn,
} from 'typeorm';
import { Principal } from './principal.entity.js';

/** One item of the content tree: a project, a folder, a file. Its revisions hold the fields that change over time. */
@Entity({ schema: 'repository', name: 'node' })
@Index(['parent', 'name'], { unique: true })
export class Node {
  @PrimaryGeneratedColumn('identity', { type: 'bigint', generatedIdentity: 'BY DEFAULT' })
  id!: string;

  @Column('text')
  name!: string;

  @Column('text', { nullable: true })
  description!: string | null;

  /** Null at the root of a tree. */
  @ManyToOne(() => Node, { nullable: true, onDelete: 'CASCADE' })
  @JoinColumn({ name: 'parent_id' })
  parent!: Node | null;

  @Column('text')
  @Index()
  type!: string;

  @ManyToOne(() => Principal, { nullable: false })
  @JoinColumn({ name: 'created_by' })
  @Index()
  createdBy!: Principal;

  @CreateDateColumn({ type: 'timestamptz', name: 'created_on' })
  createdOn!: Date;

  /** Changes with every change of the node, for optimistic locking. */
  @Column('uuid')
  etag!: string;

  /** The node whose access control list applies here: this one, or an ancestor. */
  @ManyToOne(() => Node, { nullable: true, deferrable: 'INITIALLY DEFERRED' })
  @JoinColumn({ name: 'benefactor_id' })
  @Index()
  benefactor!: Node | null;
}
