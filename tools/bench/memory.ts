import { existsSync } from 'node:fs';
import { withClient } from './connect.js';
import type { Deployment } from './deployment.js';
import { say } from './progress.js';
import { fillRepository } from './repository.js';
import type { Results, Sample } from './results.js';
import { hasRoomFor, type Rig } from './rig.js';

export const memoryName = (daemon: 'backup' | 'restore', size: number) => `snapshotd ${daemon} at ${size}x`;

/**
 * Has a worker that did nothing before back up, and another one restore, at every size and in every round, and notes
 * their peaks.
 * @param one the number of entities at 1x
 */
export async function measureMemory(
  rig: Rig,
  deployment: Deployment,
  databaseUrl: string,
  { one, sizes, rounds }: { one: number; sizes: number[]; rounds: number },
  results: Results,
): Promise<void> {
  if (!existsSync('/proc/self/status')) {
    results.leaveOut('memory', 'there is no /proc to read it from, since this is not Linux');
    return;
  }
  for (const size of sizes) {
    const entities = one * size;
    if (!(await hasRoomFor(rig, entities))) {
      results.leaveOut(`memory at ${size}x`, `there is not enough room on the disk of ${rig.folder}`);
      continue;
    }
    await withClient(databaseUrl, (client) => fillRepository(client, entities));
    const note = (daemon: 'backup' | 'restore', round: number, sample: Omit<Sample, 'entities'>) => {
      const name = memoryName(daemon, size);
      const peakBytes = deployment.workerPeak();
      results.add(name, { ...sample, entities, peakBytes });
      const figures = `${sample.seconds.toFixed(1)} s, ${Math.round(peakBytes / 1e6)} MB`;
      say(`round ${round} of ${rounds}: ${name} ${figures}`);
    };
    for (let round = 1; round <= rounds; round++) {
      await deployment.freshWorker();
      const { seconds, key } = await deployment.backup();
      note('backup', round, { seconds, bytes: await rig.bucket.bytes(key) });
      await deployment.freshWorker();
      note('restore', round, { seconds: (await deployment.restore(key)).seconds });
      await rig.bucket.delete(key);
    }
  }
}
