import { say } from './progress.js';
import type { Results, Sample } from './results.js';

export interface Competitor {
  name: string;
  /** Does the work once, leaves nothing behind, and gives the time of the work alone. */
  run: () => Promise<Sample>;
}

/**
 * Has the competitors take turns, so that whatever slows the machine down for a while slows all of them down.
 * Each first runs once without being counted: caches are warm then, and code is compiled.
 */
export async function takeTurns(competitors: Competitor[], rounds: number, results: Results): Promise<void> {
  for (let round = 0; round <= rounds; round++)
    for (const { name, run } of competitors) {
      const sample = await run();
      if (round > 0) results.add(name, sample);
      say(
        `${round === 0 ? 'not counted' : `round ${round} of ${rounds}`}: ${name} ${sample.seconds.toFixed(2)} s`,
      );
    }
}
