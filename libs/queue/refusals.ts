/** What Redis says when it answers and does not do what it is asked for, and what to do about it. */
const HINTS: [RegExp, string][] = [
  [
    /^(READONLY|UNBLOCKED|MASTERDOWN)|-READONLY /,
    'QUEUE_URL leads to a replica, and the client connects again. If this goes on, point QUEUE_URL to the primary.',
  ],
  [/^OOM /, 'Raise maxmemory of Redis, or delete what fills it.'],
  [
    /^(MOVED|ASK|CROSSSLOT|CLUSTERDOWN|TRYAGAIN) /,
    'Redis Cluster is not supported. Use a Redis without cluster mode.',
  ],
  [/^MISCONF /, 'Check the disk of Redis.'],
  [/^(NOREPLICAS|LOADING|BUSY) /, 'Try again in a moment.'],
  [/^(NOAUTH|WRONGPASS|NOPERM) /, 'Check user, password and rights in QUEUE_URL.'],
];

/** SQLSTATEs: a read-only transaction, and everything that ran out. Their messages hold no values of rows. */
const REFUSED_BY_POSTGRES = /^(25006|53...)$/;

export interface Refusal {
  /** In the queue's own words. */
  reason: string;
  hint: string;
}

/** @returns undefined for a failure that is no answer of the queue */
export function refusalOf(error: unknown): Refusal | undefined {
  if (!(error instanceof Error)) return undefined;
  // Redis adds the script that it was in.
  const [reason = ''] = error.message.split(/,? script: /);
  if (error.name === 'ReplyError') {
    const hint = HINTS.find(([pattern]) => pattern.test(reason))?.[1];
    return { reason, hint: hint ?? 'Look into the log of Redis.' };
  }
  const code = 'code' in error ? String(error.code) : '';
  return REFUSED_BY_POSTGRES.test(code) || reason === 'the database is read-only'
    ? { reason, hint: 'Check the PostgreSQL server that QUEUE_URL leads to.' }
    : undefined;
}

/** Whether the connection leads to a server that takes no writes, and another one may lead to one that does. */
export function isReadOnly({ message }: Error): boolean {
  return HINTS[0]?.[0].test(message) === true;
}
