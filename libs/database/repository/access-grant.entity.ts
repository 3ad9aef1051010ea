import { Column, Entity, Index, JoinColumn, ManyToOne, PrimaryColumn, type Relation } from 'typeorm';
import { AccessControlList } from './access-control-list.entity.js';
import { Principal } from './principal.entity.js';

/** What one principal may do, as part of an access control list. */
@Entity({ schema: 'repository', name: 'access_grant' })
export class AccessGrant {
  @PrimaryColumn('bigint', { name: 'node_id' })
  nodeId!: string;

  @PrimaryColumn('bigint', { name: 'principal_id' })
  principalId!: string;

  @ManyToOne(() => AccessControlList, (list) => list.grants, { onDelete: 'CASCADE' })
  @JoinColumn({ name: 'node_id' })
  list!: Relation<AccessControlList>;

  @ManyToOne(() => Principal, { onDelete: 'CASCADE' })
  @JoinColumn({ name: 'principal_id' })
  @Index()
  principal!: Principal;

  /** Such as READ, UPDATE, DELETE, CHANGE_PERMISSIONS. */
  @Column('text', { name: 'access_types', array: true })
  accessTypes!: string[];
}
