import { join } from 'node:path';
import { backedUp, backupBy, backups, makeManyTables, manyTables, TABLES_SCHEMA } from './backups.js';
import { Deployment } from './deployment.js';
import { measureMemory } from './memory.js';
import { type Options, type Part, PARTS } from './options.js';
import { fillRepository, SCHEMA } from './repository.js';
import { recovers } from './recovers.js';
import { restores } from './restores.js';
import { type Competitor, type Results, takeTurns } from './results.js';
import { hasRoomFor, type Rig, withClient } from './rig.js';

/** Measures the parts that the options select, one after the other. */
export async function measure(rig: Rig, options: Options, results: Results): Promise<void> {
  const { entities, rounds, sizes } = options;
  const wanted = (...parts: Part[]) => parts.some((part) => options.parts.includes(part));
  for (const part of PARTS)
    if (!wanted(part)) results.leaveOut(`the part ${part}`, 'not selected by the options');
  if (rig.binaries === undefined)
    results.leaveOut('pg_dump and pg_restore', "Debian's postgresql is not installed, and npm's lacks both");
  if (!(await hasRoomFor(rig, entities)))
    throw new Error(`Not enough disk space in ${rig.folder}. Choose another folder with --folder.`);

  if (wanted('tables')) {
    const databaseUrl = await newDatabase(rig, 'many_tables');
    await makeManyTables(databaseUrl);
    await withDeployment(rig, { name: 'tables', databaseUrl, schema: TABLES_SCHEMA }, async (deployment) => {
      await deployment.freshWorker();
      await takeTurns(manyTables(rig, deployment, databaseUrl), rounds, results);
    });
  }

  if (!wanted('backup', 'restore', 'recover', 'memory')) return;
  const databaseUrl = await newDatabase(rig, 'repository');
  await withDeployment(rig, { name: 'repository', databaseUrl, schema: SCHEMA }, async (deployment) => {
    if (wanted('backup', 'restore', 'recover')) {
      await withClient(databaseUrl, (client) => fillRepository(client, entities));
      await deployment.freshWorker();
    }
    if (wanted('backup')) {
      const competitors = backups(rig, deployment, databaseUrl, entities, results);
      competitors.push(...(await otherVersions(rig, options, databaseUrl)));
      await takeTurns(competitors, rounds, results);
    }
    if (wanted('restore'))
      await takeTurns(await restores(rig, deployment, databaseUrl, entities), rounds, results);
    if (wanted('recover'))
      await takeTurns(await recovers(rig, deployment, databaseUrl, entities), rounds, results);
    if (wanted('memory'))
      await measureMemory(rig, deployment, databaseUrl, { one: entities, sizes, rounds }, results);
  });
}

/** Starts other versions with accounts and queues of their own. @returns their backups of the same repository */
async function otherVersions(
  rig: Rig,
  { against, entities }: Options,
  repositoryUrl: string,
): Promise<Competitor[]> {
  const competitors: Competitor[] = [];
  for (const [index, folder] of against.entries()) {
    const name = `other_${index + 1}`;
    const databaseUrl = await newDatabase(rig, name);
    const dist = join(folder, 'dist');
    const deployment = await Deployment.start(rig, {
      name,
      databaseUrl,
      repositoryUrl,
      schema: SCHEMA,
      dist,
    });
    rig.running.push(deployment);
    await deployment.freshWorker();
    competitors.push({ name: backupBy(folder), run: () => backedUp(rig, deployment, entities) });
  }
  return competitors;
}

/** @returns its URL */
async function newDatabase(rig: Rig, name: string): Promise<string> {
  await rig.postgres.createDatabase(name);
  return rig.postgres.url(name);
}

async function withDeployment(
  rig: Rig,
  options: Parameters<typeof Deployment.start>[1],
  use: (deployment: Deployment) => Promise<void>,
): Promise<void> {
  const deployment = await Deployment.start(rig, options);
  rig.running.push(deployment);
  await use(deployment);
  await deployment.stop();
}
