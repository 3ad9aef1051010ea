import { createHash } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import { Failure } from '#common';
import type { DaemonJob, DaemonJobData } from './daemon-job.js';

/** How long a key stands for the job that was started with it, if the history keeps that job. */
const KEPT_MS = 24 * 60 * 60 * 1000;

/** Lets the queue add a job only if none was added with this key. BullMQ decides in one step, for all replicas. */
export function deduplication(key: string, startedBy: string): { id: string; ttl: number } {
  // A hash, so that accounts do not share keys, and any characters are allowed in them.
  const id = createHash('sha256').update(`${startedBy}\n${key}`).digest('hex');
  return { id, ttl: KEPT_MS };
}

/** Compares a request with the job that its key has started. @throws Failure IDEMPOTENCY_KEY_REUSED if they differ */
export function expectSame(job: DaemonJob, type: string, asked: DaemonJobData): void {
  if (job.name === type && isDeepStrictEqual(requestOf(job.data), requestOf(asked))) return;
  throw new Failure(
    'IDEMPOTENCY_KEY_REUSED',
    'permanent',
    `This Idempotency-Key has already started job ${job.id}, by another call or with another body.`,
    { hint: 'Use a different key for each start.' },
  );
}

/** The request of a job, as the queue keeps it: as JSON. A repository may have changed since. */
function requestOf({ archive, repository }: DaemonJobData): unknown {
  return JSON.parse(JSON.stringify({ archive, repository: repository?.name }));
}

/** The failure of a call while another call with the same key is still undecided. */
export function undecided(): Failure {
  return new Failure(
    'IDEMPOTENCY_KEY_BUSY',
    'transient',
    'An earlier call with this Idempotency-Key is still starting its job.',
    { hint: 'Try again in a moment.' },
  );
}
