import type pg from 'pg';
import { say } from './rig.js';

export const SCHEMA = 'repository';

const PRINCIPALS = 100;
/** The number of nodes below each project. */
const NODES_PER_PROJECT = 1_000;
const CHILDREN_PER_NODE = 20;

/** 64 words: 6 bits of a hash choose one. */
const WORDS = (
  'assay batch biopsy blood brain cancer cell chip clone cohort control cortex count culture dataset ' +
  'density disease dose draft drug exome expression figure final frozen gene genome gradient human image ' +
  'imaging intensity kinase lane library liver lung marker matrix mean measure methyl model mouse muscle ' +
  'mutation neuron normal panel patient plasma plate pooled protein quality raw reads region replicate ' +
  'sample sequence summary tissue variant'
).split(' ');

/** Splits a number of entities into rows of each table: about one half nodes, one half revisions. */
function shape(entities: number) {
  const nodes = Math.floor(entities / 2);
  const projects = Math.ceil(nodes / NODES_PER_PROJECT);
  const grants = 2 * projects;
  return { nodes, projects, grants, revisions: entities - nodes - PRINCIPALS - projects - grants };
}

/** The number of nodes in a repository of this size. Their ids begin at 1 and have no gaps. */
export function nodesOf(entities: number): number {
  return shape(entities).nodes;
}

/**
 * Replaces the repository's rows by a given number of new ones, the same on every machine. Words are chosen by hashes
 * of the ids, so that texts compress like real ones.
 */
export async function fillRepository(client: pg.Client, entities: number): Promise<void> {
  const { nodes, projects, revisions } = shape(entities);
  say(`Filling the repository with ${entities} entities`);
  await client.query('BEGIN');
  // The generated rows satisfy the foreign keys, so checking them is a waste of time.
  await client.query('SET LOCAL session_replication_role = replica');
  await client.query(
    'TRUNCATE repository.principal, repository.node, repository.revision, repository.access_control_list, repository.access_grant',
  );
  await client.query(
    `INSERT INTO repository.principal (id, name, individual, created_on)
     SELECT i, 'principal ' || i, i % 10 > 0, ${timestamp('i')} FROM generate_series(1, $1::bigint) i`,
    [PRINCIPALS],
  );
  say(`  ${nodes} nodes`);
  await client.query(
    `INSERT INTO repository.node
       (id, name, description, parent_id, type, created_by, created_on, etag, benefactor_id)
     SELECT i, ${words('h1', 0, 2)} || ' ' || i,
       CASE WHEN i % 3 > 0 THEN ${words('h2', 0, 10)} || ', ' || ${words('h3', 0, 8)} END,
       CASE WHEN i > $2 THEN 1 + (i - $2 - 1) / ${CHILDREN_PER_NODE} END,
       CASE WHEN i <= $2 THEN 'project' ELSE ('{folder,dataset,file,file}'::text[])[1 + ((h1 >> 20) & 3)::int] END,
       1 + ((h1 >> 24) & 1023) % ${PRINCIPALS}, ${timestamp('i')}, md5('node ' || i)::uuid, 1 + (i - 1) % $2
     FROM generate_series(1, $1::bigint) i, ${hashes('i')}`,
    [nodes, projects],
  );
  say(`  ${revisions} revisions`);
  await client.query(
    `INSERT INTO repository.revision (node_id, number, comment, modified_by, modified_on, annotations)
     SELECT i, 1, CASE WHEN i % 4 = 0 THEN ${words('h1', 0, 6)} END,
       1 + ((h1 >> 40) & 1023) % ${PRINCIPALS}, ${timestamp('i')},
       jsonb_build_object(
         'string', jsonb_build_object(
           'title', jsonb_build_array(${words('h2', 0, 5)}),
           'keyword', jsonb_build_array(${words('h2', 5, 1)}, ${words('h2', 6, 1)}, ${words('h2', 7, 1)}),
           'study', jsonb_build_array(${words('h3', 0, 2)} || ' ' || (h3 >> 12) % 1000),
           'contributor', jsonb_build_array(${words('h3', 8, 2)})),
         'long', jsonb_build_object('size', jsonb_build_array((h3 >> 16) & 4294967295)),
         'double', jsonb_build_object('quality', jsonb_build_array(((h1 >> 8) & 1048575) / 1048576.0::float8)),
         'date', jsonb_build_object('measured', jsonb_build_array(${timestamp('i + 86400')})))
     FROM generate_series(1, $1::bigint) i, ${hashes('-i')}`,
    [revisions],
  );
  await client.query(
    `INSERT INTO repository.access_control_list (node_id, etag, created_on)
     SELECT i, md5('list ' || i)::uuid, ${timestamp('i')} FROM generate_series(1, $1::bigint) i`,
    [projects],
  );
  await client.query(
    `INSERT INTO repository.access_grant (node_id, principal_id, access_types)
     SELECT i, 1 + (i + other) % ${PRINCIPALS}, '{READ,UPDATE,DELETE}'
     FROM generate_series(1, $1::bigint) i, (VALUES (0), (${PRINCIPALS / 2})) others (other)`,
    [projects],
  );
  for (const table of ['principal', 'node'])
    await client.query(
      `SELECT setval(pg_get_serial_sequence($1, 'id'), (SELECT max(id) FROM repository.${table}))`,
      [`repository.${table}`],
    );
  await client.query('COMMIT');
  await settle(client);
  await expectEntities(client, entities);
}

/** Runs VACUUM and CHECKPOINT between the runs, so that PostgreSQL does not start them during one. */
export async function settle(client: pg.Client): Promise<void> {
  say('  VACUUM ANALYZE and a checkpoint');
  await client.query('VACUUM ANALYZE');
  await client.query('CHECKPOINT');
}

/** @throws Error if the repository does not hold exactly this number of rows */
export async function expectEntities(client: pg.Client, entities: number): Promise<void> {
  const counts = (await tablesOf(client, SCHEMA)).map((table) => `(SELECT count(*) FROM ${table})`);
  const { rows } = await client.query<{ count: string }>(`SELECT ${counts.join(' + ')} AS count`);
  const count = Number(rows[0]?.count);
  if (count !== entities) throw new Error(`The repository holds ${count} entities instead of ${entities}.`);
}

/** Lists a schema's tables, quoted and ordered by name. */
export async function tablesOf(client: pg.Client, schema: string): Promise<string[]> {
  const { rows } = await client.query<{ name: string }>(
    `SELECT format('%I.%I', schemaname, tablename) AS name FROM pg_tables WHERE schemaname = $1 ORDER BY 1`,
    [schema],
  );
  return rows.map(({ name }) => name);
}

/** SQL for three 64-bit hashes of an id. */
function hashes(id: string): string {
  const columns = [1, 2, 3].map((seed) => `hashint8extended(${id}, ${seed}) AS h${seed}`);
  return `LATERAL (SELECT ${columns.join(', ')} OFFSET 0) hashed`;
}

/** SQL that chooses words by the bits of a hash. @param skip the number of choices that other calls took */
function words(hash: string, skip: number, count: number): string {
  const list = `'{${WORDS.join(',')}}'::text[]`;
  const chosen = Array.from(
    { length: count },
    (_, i) => `(${list})[1 + (((${hash} >> ${6 * (skip + i)}) & 63)::int)]`,
  );
  return `concat_ws(' ', ${chosen.join(', ')})`;
}

/** SQL for a time with microseconds that increases with the id. */
function timestamp(id: string): string {
  return `(timestamptz '2020-01-01 00:00:00Z' + (${id}) * interval '7.123457 seconds')`;
}
