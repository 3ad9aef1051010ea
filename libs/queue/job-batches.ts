import type { Queue } from 'bullmq';
import { answered } from './queue-unavailable.js';

const READ_AT_ONCE = 100;
const REMOVED_AT_ONCE = 1_000;

/**
 * Reads jobs in batches. BullMQ fetches each of them by a request, and the queue must answer others in between.
 * @param read gives undefined for a job to be skipped
 */
export async function* inBatches<Found>(
  ids: readonly string[],
  read: (id: string) => Promise<Found | undefined>,
): AsyncGenerator<Found> {
  for (let start = 0; start < ids.length; start += READ_AT_ONCE) {
    const found = await Promise.all(ids.slice(start, start + READ_AT_ONCE).map(read));
    yield* found.filter((one) => one !== undefined);
  }
}

/** Selects the ids of jobs that an API started: they are numbers. */
export function daemonIds(ids: readonly string[]): string[] {
  return ids.filter((id) => /^\d+$/.test(id));
}

/** Removes at most 1,000 jobs of each outcome that ended before a time, oldest first. @throws QueueUnavailable */
export async function forgetEnded(queue: Pick<Queue, 'clean'>, before: number): Promise<void> {
  // BullMQ takes an age, by the clock of this process.
  for (const state of ['completed', 'failed'] as const)
    await answered(queue.clean(Date.now() - before, REMOVED_AT_ONCE, state));
}
