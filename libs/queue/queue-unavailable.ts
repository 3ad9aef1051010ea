import { Failure } from '#common';

const REPLICA = /^(READONLY|UNBLOCKED|MASTERDOWN)|-READONLY /;

/** The errors that Redis answers with, and how to solve them. */
const HINTS: [RegExp, string][] = [
  [
    REPLICA,
    'QUEUE_URL leads to a replica, and the client reconnects. If this persists, point QUEUE_URL to the primary.',
  ],
  [/^OOM /, 'Raise maxmemory of Redis, or delete data from it.'],
  [
    /^(MOVED|ASK|CROSSSLOT|CLUSTERDOWN|TRYAGAIN) /,
    'Redis Cluster is not supported. Use a Redis without cluster mode.',
  ],
  [/^MISCONF /, 'Check the disk of Redis.'],
  [/^(NOREPLICAS|LOADING|BUSY) /, 'Try again in a moment.'],
  [/^(NOAUTH|WRONGPASS|NOPERM) /, 'Check user, password and rights in QUEUE_URL.'],
];

/** SQLSTATEs: a read-only transaction, and insufficient resources. Their messages hold no values of rows. */
const REFUSED_BY_POSTGRES = /^(25006|53...)$/;

/** The queue did not answer, or answered with an error. */
export class QueueUnavailable extends Failure {
  constructor(cause: unknown, consequence = '') {
    const refusal = refusalOf(cause);
    const what =
      refusal === undefined ? 'does not answer.' : `refuses this: ${refusal.reason.replace(/\.$/, '')}.`;
    super('QUEUE_UNAVAILABLE', 'transient', `The queue ${what}${consequence}`, {
      hint: refusal?.hint ?? 'Try again in a moment.',
      cause,
    });
  }
}

/**
 * Awaits a request to the queue.
 * @param otherwise the consequence of a failure, as a sentence after a blank
 * @throws QueueUnavailable
 */
export async function answered<Result>(request: Promise<Result>, otherwise?: string): Promise<Result> {
  try {
    return await request;
  } catch (error) {
    throw new QueueUnavailable(error, otherwise);
  }
}

/**
 * Catches BullMQ's error for a job that it cannot read, for example because its data are no JSON. No API has written such
 * a job, and the queue is available.
 */
export function undefinedIfUnreadable(error: unknown): undefined {
  const { name, message } = error as Error;
  if (!['SyntaxError', 'TypeError'].includes(name) && !message.startsWith('WRONGTYPE')) throw error;
}

/** Whether the server takes no writes: a new connection may lead to a server that does. */
export function isReadOnly({ message }: Error): boolean {
  return REPLICA.test(message);
}

/** The reason in the queue's words, and a hint. @returns undefined for a failure that is no answer of the queue */
function refusalOf(error: unknown): { reason: string; hint: string } | undefined {
  if (!(error instanceof Error)) return undefined;
  // Redis adds the script that it was in.
  const [reason = ''] = error.message.split(/,? script: /);
  if (error.name === 'ReplyError') {
    const hint = HINTS.find(([pattern]) => pattern.test(reason))?.[1];
    return { reason, hint: hint ?? 'See the log of Redis.' };
  }
  const code = 'code' in error ? String(error.code) : '';
  return REFUSED_BY_POSTGRES.test(code) || reason === 'the database is read-only'
    ? { reason, hint: 'Check the PostgreSQL server that QUEUE_URL leads to.' }
    : undefined;
}
