import { setTimeout as sleep } from 'node:timers/promises';

const TIMEOUT_MS = 120_000;
const MAX_WAIT_MS = 250;

/**
 * Polls until `look` gives something other than false, null or undefined. The longer it takes, the less often it looks:
 * looking takes CPU time from that which it waits for.
 * @throws Error after two minutes
 */
export async function eventually<Answer>(
  look: () => Promise<Answer> | Answer,
  everyMs = 20,
): Promise<NonNullable<Exclude<Answer, false>>> {
  const began = performance.now();
  for (;;) {
    const seen = await look();
    if (seen !== undefined && seen !== false && seen !== null)
      return seen as NonNullable<Exclude<Answer, false>>;
    const passed = performance.now() - began;
    if (passed > TIMEOUT_MS) throw new Error(`Not within ${TIMEOUT_MS / 1000} s: ${look.toString()}`);
    await sleep(Math.max(everyMs, Math.min(passed / 10, MAX_WAIT_MS)));
  }
}
