import type { Competitor } from './competitors.js';
import type { Deployment } from './deployment.js';
import { drain } from './floor.js';
import { backUpOneByOne } from './one-by-one.js';
import { dump } from './peers.js';
import { say } from './progress.js';
import { nodesOf, SCHEMA } from './repository.js';
import type { Results, Sample } from './results.js';
import type { Rig } from './rig.js';
import { StatusLoad } from './status-load.js';

export const FLOOR = 'COPY TO STDOUT, drained';
export const DUMP = 'pg_dump -Fc, uploaded';
export const DUMP_FAST = 'pg_dump -Fc -Z1, uploaded';
export const BACKUP = 'snapshotd backup';
export const WATCHED = 'snapshotd backup, watched 200 times/s';
export const ONE_BY_ONE = 'one entity at a time, a sample';

const WATCHERS_PER_SECOND = 200;
const DUMP_KEY = 'dump';

/** The ways to get a repository of so many entities into the bucket. */
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

/** @param kinds the compression of each; none where there is no pg_dump */
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

/** A backup of which nothing is kept. */
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

/** A backup whose status many ask for all the while. */
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
      results.leaveOut(WATCHED, `only ${rate.toFixed(0)} requests/s were answered, and ${failed} failed`);
    return { ...sample, answersPerSecond: rate };
  } finally {
    await load.discard();
  }
}
