import { createHash } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import { Failure } from '#common';
import type { DaemonJob, DaemonJobData } from './daemon-job.js';

/** For so long a key stands for the daemon that was started with it, if that is remembered so long. */
const KEPT_MS = 24 * 60 * 60 * 1000;

/** Makes the queue take a daemon only if none was added with this key: BullMQ decides, in one step, for all replicas. */
export function deduplication(key: string, startedBy: string): { id: string; ttl: number } {
  // A hash, because a client chose the key: everybody has keys of their own, and what they look like is no matter.
  const id = createHash('sha256').update(`${startedBy}\n${key}`).digest('hex');
  return { id, ttl: KEPT_MS };
}

/** @throws Failure IDEMPOTENCY_KEY_REUSED unless the daemon is what is asked for now */
export function expectSame(job: DaemonJob, type: string, { archive }: DaemonJobData): void {
  // As the queue keeps it, which is as JSON.
  const asked: unknown = archive === undefined ? undefined : JSON.parse(JSON.stringify(archive));
  if (job.name === type && isDeepStrictEqual(job.data.archive, asked)) return;
  throw new Failure(
    'IDEMPOTENCY_KEY_REUSED',
    'permanent',
    `This Idempotency-Key has started the daemon ${job.id}, by another call or with another body.`,
    { hint: 'Give each start a key of its own.' },
  );
}

export function undecided(): Failure {
  return new Failure(
    'IDEMPOTENCY_KEY_BUSY',
    'transient',
    'Whether an earlier call with this Idempotency-Key has started its daemon is not decided yet.',
    { hint: 'Try again in a moment.' },
  );
}
