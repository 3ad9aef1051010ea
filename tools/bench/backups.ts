import { to as copyTo } from 'pg-copy-streams';
import type { Deployment } from './deployment.js';
import { backUpOneByOne } from './one-by-one.js';
import { dump } from './peers.js';
import { nodesOf, SCHEMA, settle, tablesOf } from './repository.js';
import type { Competitor, Results, Sample } from './results.js';
import { type Rig, say, withClient } from './rig.js';
import { StatusLoad } from './status-load.js';

export const FLOOR = 'COPY TO STDOUT, drained';
export const DUMP = 'pg_dump -Fc, uploaded';
export const DUMP_FAST = 'pg_dump -Fc -Z1, uploaded';
export const BACKUP = 'snapshotd backup';
export const WATCHED = 'snapshotd backup, watched 200 times/s';
export const ONE_BY_ONE = 'one entity at a time (sample)';

/** The name of the backups by the version in this folder. */
export const backupBy = (folder: string) => `snapshotd backup by ${folder}`;

export const TABLES_SCHEMA = 'tables';
export const TABLES_DUMP = '2,000 tables: pg_dump -Fc, uploaded';
export const TABLES_BACKUP = '2,000 tables: snapshotd backup';

const TABLES = 2_000;
const ROWS = 10;
/** Tables that one transaction creates: the server has room for a limited number of locks. */
const BATCH = 500;

const WATCHERS_PER_SECOND = 200;
const DUMP_KEY = 'dump';

/** The competing ways to back up a repository. */
export function backups(
  rig: Rig,
  deployment: Deployment,
  databaseUrl: string,
  entities: number,
  results: Results,
): Competitor[] {
  return [
    { name: FLOOR, run: () => drain(databaseUrl, SCHEMA) },
    ...dumps(rig, databaseUrl, SCHEMA, { [DUMP]: [], [DUMP_FAST]: ['-Z1'] }),
    { name: BACKUP, run: () => backedUp(rig, deployment, entities) },
    { name: WATCHED, run: () => backedUpWatched(rig, deployment, entities, results) },
    { name: ONE_BY_ONE, run: () => backUpOneByOne(rig, databaseUrl, nodesOf(entities)) },
  ];
}

/** The competitors that use pg_dump; none if it is not installed. @param kinds their compression, by name */
export function dumps(
  rig: Rig,
  databaseUrl: string,
  schema: string,
  kinds: Record<string, string[]>,
): Competitor[] {
  const { binaries } = rig;
  if (binaries === undefined) return [];
  const task = { rig, binaries, databaseUrl, key: DUMP_KEY };
  return Object.entries(kinds).map(([name, compression]) => ({
    name,
    run: async () => {
      const sample = await dump(task, schema, compression);
      await rig.bucket.delete(DUMP_KEY);
      return sample;
    },
  }));
}

/** Makes a backup and deletes its archive. */
export async function backedUp(
  rig: Rig,
  deployment: Deployment,
  entities: number,
  onStarted?: (id: string) => void,
): Promise<Sample> {
  const { seconds, key } = await deployment.backup(onStarted);
  const bytes = await rig.bucket.bytes(key);
  await rig.bucket.delete(key);
  return { seconds, entities, bytes };
}

/** Makes a backup while many clients poll its status. */
async function backedUpWatched(
  rig: Rig,
  deployment: Deployment,
  entities: number,
  results: Results,
): Promise<Sample> {
  const { url, client } = deployment;
  const load = await StatusLoad.prepare({
    url,
    sessionToken: client.sessionToken,
    perSecond: WATCHERS_PER_SECOND,
  });
  try {
    const sample = await backedUp(rig, deployment, entities, (id) => load.begin(id));
    const { answered, failed, seconds } = await load.end();
    const rate = answered / seconds;
    say(`  ${rate.toFixed(0)} answers/s, ${failed} failed`);
    if (failed > 0 || rate < 0.95 * WATCHERS_PER_SECOND)
      results.leaveOut(WATCHED, `only ${rate.toFixed(0)} requests/s were answered and ${failed} failed`);
    return { ...sample, answersPerSecond: rate };
  } finally {
    await load.discard();
  }
}

/** Reads a schema's tables as CSV and discards them: the lower bound for a backup over one connection. */
function drain(url: string, schema: string): Promise<Sample> {
  return withClient(url, async (client) => {
    const began = performance.now();
    let bytes = 0;
    for (const table of await tablesOf(client, schema)) {
      const csv = client.query(copyTo(`COPY ${table} TO STDOUT (FORMAT csv)`));
      for await (const chunk of csv as AsyncIterable<Buffer>) bytes += chunk.length;
    }
    return { seconds: (performance.now() - began) / 1000, bytes };
  });
}

/** The competing ways to back up many small tables. */
export function manyTables(rig: Rig, deployment: Deployment, databaseUrl: string): Competitor[] {
  return [
    ...dumps(rig, databaseUrl, TABLES_SCHEMA, { [TABLES_DUMP]: [] }),
    { name: TABLES_BACKUP, run: () => backedUp(rig, deployment, TABLES * ROWS) },
  ];
}

export async function makeManyTables(databaseUrl: string): Promise<void> {
  say(`Creating ${TABLES} tables of ${ROWS} rows`);
  await withClient(databaseUrl, async (client) => {
    await client.query(`CREATE SCHEMA ${TABLES_SCHEMA}`);
    for (let first = 1; first <= TABLES; first += BATCH)
      await client.query(
        `DO $$ BEGIN FOR i IN ${first}..${first + BATCH - 1} LOOP
           EXECUTE format('CREATE TABLE ${TABLES_SCHEMA}.table_%s
             (id bigint PRIMARY KEY, name text NOT NULL, quality float8, created_on timestamptz NOT NULL)', i);
           EXECUTE format('INSERT INTO ${TABLES_SCHEMA}.table_%s
             SELECT row, ''row '' || row, row / 7.0, timestamptz ''2020-01-01Z'' + row * interval ''1 day''
             FROM generate_series(1, ${ROWS}) row', i);
         END LOOP; END $$`,
      );
    await settle(client);
  });
}
