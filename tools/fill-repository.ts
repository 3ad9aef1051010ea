import { randomUUID } from 'node:crypto';
import type { DataSource } from 'typeorm';
import { AccessControlList, AccessGrant, Node, Principal, Revision } from '#database';

const TYPES = ['project', 'folder', 'dataset', 'file'] as const;

/**
 * Fills an empty default repository with exactly 785 rows: 4 principals, 380 nodes in a tree, 391 revisions, 4 access
 * control lists and their 6 grants.
 */
export async function fillRepository(database: DataSource): Promise<void> {
  await database.transaction(async (manager) => {
    const insert = <Row extends object>(entity: new () => Row, rows: object[]) =>
      manager.createQueryBuilder().insert().into(entity).values(rows).execute();

    await insert(
      Principal,
      ['platform', 'ada', 'grace', 'readers'].map((name, i) => ({
        id: String(i + 1),
        name,
        individual: i < 3,
      })),
    );
    const nodes = Array.from({ length: 380 }, (_, i) => {
      const id = i + 1;
      const parent = id <= 4 ? null : Math.floor((id - 1) / 4);
      return {
        id: String(id),
        name: `${TYPES[depthOf(id)]} ${id}`,
        description: id % 3 === 0 ? null : `Number ${id}, "quoted", with a comma,\nand a second line`,
        parent: parent === null ? null : { id: String(parent) },
        type: TYPES[depthOf(id)],
        createdBy: { id: String((id % 3) + 1) },
        etag: randomUUID(),
        benefactor: { id: String(((id - 1) % 4) + 1) },
      };
    });
    await insert(Node, nodes);
    await insert(
      Revision,
      nodes.flatMap(({ id, name }) =>
        Array.from({ length: Number(id) <= 11 ? 2 : 1 }, (_, number) => ({
          nodeId: id,
          number: number + 1,
          comment: number === 0 ? null : 'Better annotations',
          modifiedBy: { id: '2' },
          annotations: {
            string: { title: [name], keyword: ['alpha', 'βeta'] },
            long: { size: [String(9_007_199_254_740_993n + BigInt(id))] },
            double: { quality: [Number(id) / 7] },
            date: { measured: ['2011-08-18T22:38:56.615Z'] },
          },
        })),
      ),
    );
    await insert(
      AccessControlList,
      [1, 2, 3, 4].map((id) => ({ nodeId: String(id), etag: randomUUID() })),
    );
    await insert(
      AccessGrant,
      [
        [1, 1],
        [2, 1],
        [3, 2],
        [4, 3],
        [1, 4],
        [2, 4],
      ].map(([node, principal]) => ({
        nodeId: String(node),
        principalId: String(principal),
        accessTypes: principal === 4 ? ['READ'] : ['READ', 'UPDATE', 'DELETE', 'CHANGE_PERMISSIONS'],
      })),
    );
    // The rows have explicit ids; the sequences must continue after them.
    for (const table of ['principal', 'node'])
      await manager.query(
        `SELECT setval(pg_get_serial_sequence($1, 'id'), (SELECT max(id) FROM repository.${table}))`,
        [`repository.${table}`],
      );
  });
}

function depthOf(id: number): 0 | 1 | 2 | 3 {
  return id <= 4 ? 0 : id <= 20 ? 1 : id <= 84 ? 2 : 3;
}

const TABLES = ['principal', 'node', 'revision', 'access_control_list', 'access_grant'].map(
  (name) => `repository.${name}`,
);

export async function countEntities(database: DataSource): Promise<number> {
  const counts = TABLES.map((table) => `(SELECT count(*) FROM ${table})`);
  const rows = await database.query<{ entities: string }[]>(`SELECT ${counts.join(' + ')} AS entities`);
  return Number(rows[0]?.entities);
}
