import type { Deployment } from './deployment.js';
import { dump, restoreDump } from './peers.js';
import { expectEntities, SCHEMA, settle } from './repository.js';
import type { Competitor, Sample } from './results.js';
import { type Rig, say, withClient } from './rig.js';

export const PG_RESTORE = 'download, pg_restore --clean --single-transaction';
export const RESTORE = 'snapshotd restore';

const DUMP_KEY = 'dump-to-restore';

/** The competing ways to restore a repository over an existing one. */
export async function restores(
  rig: Rig,
  deployment: Deployment,
  databaseUrl: string,
  entities: number,
): Promise<Competitor[]> {
  say('Creating a dump and an archive to restore');
  const { key } = await deployment.backup();
  const settled = (run: () => Promise<Sample>) => () =>
    withClient(databaseUrl, async (client) => {
      await settle(client);
      const sample = await run();
      await expectEntities(client, entities);
      return { ...sample, entities };
    });
  const competitors = [{ name: RESTORE, run: settled(() => deployment.restore(key)) }];
  const { binaries } = rig;
  if (binaries === undefined) return competitors;
  const task = { rig, binaries, databaseUrl, key: DUMP_KEY };
  await dump(task, SCHEMA);
  return [{ name: PG_RESTORE, run: settled(() => restoreDump(task)) }, ...competitors];
}
