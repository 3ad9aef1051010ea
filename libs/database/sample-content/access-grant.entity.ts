import { Column, Entity, Index, JoinColumn, ManyToOne, PrimaryColumn } from 'typeorm';
import { AccessControlList } from './access-control-list.entity.js';
import { Principal } from './principal.entity.js';

/** The permissions of one principal in an access control list. */
@Entity({ schema: 'repository', name: 'access_grant' })
export class AccessGrant {
  @PrimaryColumn('bigint', { name: 'node_id' })
  nodeId!: string;

  @PrimaryColumn('bigint', { name: 'principal_id' })
  principalId!: string;

  @ManyToOne(() => AccessControlList, { onDelete: 'CASCADE' })
  @JoinColumn({ name: 'node_id' })
  list!: AccessControlList;

  @ManyToOne(() => Principal, { onDelete: 'CASCADE' })
  @JoinColumn({ name: 'principal_id' })
  @Index()
  principal!: Principal;

  /** Such as READ, UPDATE, DELETE, CHANGE_PERMISSIONS. */
  @Column('text', { name: 'access_types', array: true })
  accessTypes!: string[];
}
