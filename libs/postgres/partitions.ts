import type { Session } from './session.js';

interface Relation {
  schema: string;
  name: string;
}

export interface Partition {
  /** A partitioned table at whatever level above the leaf. */
  root: Relation;
  /** A partition that holds rows. */
  leaf: Relation;
}

/** Which leaf partitions belong to which partitioned tables of these schemas. */
export function listPartitions(session: Session, schemas: string[]): Promise<Partition[]> {
  return session.query<{ root: Relation; leaf: Relation }>(
    `SELECT json_build_object('schema', rn.nspname, 'name', root.relname) AS root,
            json_build_object('schema', ln.nspname, 'name', leaf.relname) AS leaf
       FROM pg_class root
       JOIN pg_namespace rn ON rn.oid = root.relnamespace
      CROSS JOIN LATERAL pg_partition_tree(root.oid) AS tree
       JOIN pg_class leaf ON leaf.oid = tree.relid
       JOIN pg_namespace ln ON ln.oid = leaf.relnamespace
      WHERE root.relkind = 'p' AND rn.nspname = ANY ($1) AND tree.isleaf`,
    [schemas],
  );
}
