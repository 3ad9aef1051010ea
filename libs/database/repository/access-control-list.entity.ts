import { Column, CreateDateColumn, Entity, JoinColumn, OneToMany, OneToOne, PrimaryColumn } from 'typeorm';
import { AccessGrant } from './access-grant.entity.js';
import { Node } from './node.entity.js';

/** Who may do what with a node, and with all nodes that have it as their benefactor. */
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

  @OneToMany(() => AccessGrant, (grant) => grant.list)
  grants!: AccessGrant[];
}
