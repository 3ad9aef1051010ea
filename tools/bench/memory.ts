import { existsSync } from 'node:fs';
import { formatBytes } from '#common';
import type { Deployment } from './deployment.js';
import { fillRepository } from './repository.js';
import type { Results, Sample } from './results.js';
import { hasRoomFor, type Rig, say, withClient } from './rig.js';

export const memoryName = (job: 'backup' | 'restore', size: number) => `snapshotd ${job} at ${size}x`;

/**
 * Measures the peak memory of a backup and of a restore, each by a new worker, at every size and in every round.
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
    results.leaveOut('memory', 'only Linux has /proc to read it from');
    return;
  }
  for (const size of sizes) {
    const entities = one * size;
    if (!(await hasRoomFor(rig, entities))) {
      results.leaveOut(`memory at ${size}x`, `not enough disk space in ${rig.folder}`);
      continue;
    }
    await withClient(databaseUrl, (client) => fillRepository(client, entities));
    const note = (job: 'backup' | 'restore', round: number, sample: Omit<Sample, 'entities'>) => {
      const name = memoryName(job, size);
      const peakBytes = deployment.workerPeak();
      results.add(name, { ...sample, entities, peakBytes });
      const figures = `${sample.seconds.toFixed(1)} s, ${formatBytes(peakBytes)}`;
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
