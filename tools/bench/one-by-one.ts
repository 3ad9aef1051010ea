import type { Readable } from 'node:stream';
import type pg from 'pg';
import { ZipFile } from 'yazl';
import type { Sample } from './results.js';
import { type Rig, withClient } from './rig.js';

const SAMPLE = 3_000;
const KEY = 'one-by-one.zip';

/**
 * Backs up a sample one entity at a time: each node, with its revisions, takes one query and becomes one entry. Each
 * revision counts as an entity, as in snapshotd.
 * @param nodes how many there are; the sample is spread evenly over them
 */
export async function backUpOneByOne(rig: Rig, databaseUrl: string, nodes: number): Promise<Sample> {
  const size = Math.min(SAMPLE, nodes);
  return withClient(databaseUrl, async (client) => {
    const began = performance.now();
    const zip = new ZipFile();
    const output = zip.outputStream as Readable;
    const write = async () => {
      let entities = 0;
      for (let i = 0; i < size; i++)
        entities += await addNode(client, zip, 1 + Math.floor((i * nodes) / size));
      zip.end();
      return entities;
    };
    const [entities] = await Promise.all([
      write().catch((error: unknown) => {
        output.destroy(error as Error);
        throw error;
      }),
      rig.bucket.put(KEY, output),
    ]);
    const seconds = (performance.now() - began) / 1000;
    const bytes = await rig.bucket.bytes(KEY);
    await rig.bucket.delete(KEY);
    return { seconds, entities, bytes };
  });
}

/** Adds a node and its revisions. @returns the number of entities */
async function addNode(client: pg.Client, zip: ZipFile, id: number): Promise<number> {
  const { rows } = await client.query<{ revisions: unknown[] | null }>(
    `SELECT node.*, (SELECT jsonb_agg(revision) FROM repository.revision WHERE node_id = node.id) AS revisions
     FROM repository.node WHERE id = $1`,
    [id],
  );
  const [node] = rows;
  if (node === undefined) throw new Error(`There is no node ${id}`);
  zip.addBuffer(Buffer.from(JSON.stringify(node)), `nodes/${id}.json`);
  return 1 + (node.revisions?.length ?? 0);
}
