import { Column, CreateDateColumn, Entity, JoinColumn, OneToOne, PrimaryColumn } from 'typeorm';
import { Node } from './node.entity.js';

/** The permissions on a node, and on all nodes that have it as their benefactor. */
@Entity({ schema: 'repository', name: 'access_control_list' })
export class AccessControlList {
  @PrimaryColumn('bigint', { name: 'node_id' })
  nodeId!: string;

  @OneToOne(() => Node, { onDelete: 'CASCADE' })
  @JoinColumn({ name: 'node_id' })
  node!: Node;

  @Column('uuid')
  etag!: string;

  @CreateDateColumn({ type: 'timestamptz', name: 'created_on' })
  createdOn!: Date;
}
