import { setTimeout as sleep } from 'node:timers/promises';
import { Failure, hasEnded, retry, type RetryOptions } from '#common';
import type { DaemonStatus } from '#contracts';
import type { Api } from './api.js';

/** The server sends the first status at once; a proxy that buffers the stream withholds it. */
const FIRST_EVENT_MS = 3_000;
const POLL_EVERY_MS = 1_000;

export interface FollowOptions extends Pick<RetryOptions, 'retryForMs' | 'onTrouble'> {
  onStatus: (status: DaemonStatus) => void;
  signal: AbortSignal;
}

/**
 * Follows a job until it ends, over broken connections and restarts of the server. It listens to the job's events, and
 * polls if no events come through.
 * @throws Failure if the server refuses, or does not answer within `retryForMs`; the signal's reason
 */
export async function follow(
  api: Api,
  id: string,
  { onStatus, signal, ...retries }: FollowOptions,
): Promise<DaemonStatus> {
  let streams = true;
  for (;;) {
    const status = await retry(() => api.status(id, signal), { ...retries, signal });
    onStatus(status);
    if (hasEnded(status)) return status;
    if (streams) {
      const { last, came } = await listen(api, id, onStatus, signal);
      if (last !== undefined && hasEnded(last)) return last;
      streams = came;
    }
    await sleep(POLL_EVERY_MS, undefined, { signal });
  }
}

/** Reports the events until the stream ends or breaks. @throws the signal's reason */
async function listen(
  api: Api,
  id: string,
  onStatus: (status: DaemonStatus) => void,
  signal: AbortSignal,
): Promise<{ last: DaemonStatus | undefined; came: boolean }> {
  const nothing = new AbortController();
  const timer = setTimeout(() => nothing.abort(), FIRST_EVENT_MS);
  let last: DaemonStatus | undefined;
  try {
    for await (const status of api.statuses(id, AbortSignal.any([signal, nothing.signal]))) {
      clearTimeout(timer);
      onStatus(status);
      last = status;
    }
  } catch (error) {
    signal.throwIfAborted();
    // The next status call reports the problem if it persists.
    if (!(error instanceof Failure) && !nothing.signal.aborted) throw error;
  } finally {
    clearTimeout(timer);
  }
  return { last, came: !nothing.signal.aborted };
}
