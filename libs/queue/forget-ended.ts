import type { Queue } from 'bullmq';
import { answered } from './queue-unavailable.js';

/** Jobs that are removed at once: the queue must answer others in between. */
const AT_ONCE = 1_000;

/** Removes finished jobs that ended before a time: the oldest, of each outcome. @throws QueueUnavailable */
export async function forgetEnded(queue: Pick<Queue, 'clean'>, before: number): Promise<void> {
  // BullMQ takes an age, by the clock of this process.
  for (const state of ['completed', 'failed'] as const)
    await answered(queue.clean(Date.now() - before, AT_ONCE, state));
}
