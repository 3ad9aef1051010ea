import { existsSync } from 'node:fs';
import { withClient } from './connect.js';
import type { Deployment } from './deployment.js';
import { say } from './progress.js';
import { fillRepository } from './repository.js';
import type { Results } from './results.js';
import { hasRoomFor, type Rig } from './rig.js';

export const memoryName = (daemon: 'backup' | 'restore', size: number) => `snapshotd ${daemon} at ${size}x`;

/**
 * Has a worker that did nothing before back up, and another one restore, at every size, and notes their peaks.
 * @param one the number of entities at 1x
 */
export async function measureMemory(
  rig: Rig,
  deployment: Deployment,
  databaseUrl: string,
  { one, sizes }: { one: number; sizes: number[] },
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
    await deployment.freshWorker();
    const { seconds, key } = await deployment.backup();
    const bytes = await rig.bucket.bytes(key);
    const peakBytes = deployment.workerPeak();
    results.add(memoryName('backup', size), { seconds, entities, bytes, peakBytes });
    say(`${memoryName('backup', size)}: ${seconds.toFixed(1)} s, ${Math.round(peakBytes / 1e6)} MB`);

    await deployment.freshWorker();
    const restored = await deployment.restore(key);
    const peak = deployment.workerPeak();
    results.add(memoryName('restore', size), { seconds: restored.seconds, entities, peakBytes: peak });
    say(`${memoryName('restore', size)}: ${restored.seconds.toFixed(1)} s, ${Math.round(peak / 1e6)} MB`);
    await rig.bucket.delete(key);
  }
}
