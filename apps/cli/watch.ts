import { Failure, type RetryOptions } from '#common';
import { type DaemonStatus } from '#contracts';
import type { Api } from './api.js';
import type { Context } from './context.js';
import { follow } from './follow.js';
import { formatCount, formatDuration, formatFields, formatTime, printable } from './format.js';
import { ProgressDisplay } from './progress-display.js';

/** For how long a server may be away while somebody waits. */
const RETRY_MS = 5 * 60_000;

/** What is said while the server does not answer. */
export function tellingTrouble(
  say: (text: string) => void,
  retryForMs: number,
): Pick<RetryOptions, 'retryForMs' | 'onTrouble'> {
  let told = false;
  return {
    retryForMs,
    onTrouble: (trouble) => {
      if (trouble === undefined) {
        if (told) say('It answers again.');
        told = false;
      } else if (!told) {
        say(`${printable(trouble.failure.message)} Trying again ...`);
        told = true;
      }
    },
  };
}

/**
 * Shows how a daemon gets on until it has ended. Ctrl-C ends the showing only.
 * @throws Failure INTERRUPTED, and those of {@link follow}
 */
export async function watched(api: Api, id: string): Promise<DaemonStatus> {
  const display = new ProgressDisplay(process.stderr, formatCount);
  const interrupted = new AbortController();
  const goesOn = `The daemon ${id} goes on: snapshotd status ${id} --wait shows it again, snapshotd terminate ${id} ends it.`;
  const interrupt = () => interrupted.abort(new Failure('INTERRUPTED', 'permanent', goesOn));
  process.once('SIGINT', interrupt);
  try {
    return await follow(api, id, {
      ...tellingTrouble((text) => display.say(text), RETRY_MS),
      onStatus: (status) =>
        display.update({
          done: status.progresssCurrent,
          total: status.progresssTotal,
          message: status.progresssMessage,
          finished: status.status === 'COMPLETED',
        }),
      signal: interrupted.signal,
    });
  } catch (error) {
    if (interrupted.signal.aborted) throw interrupted.signal.reason;
    throw error instanceof Failure && error.persistence === 'transient' ? error.and(goesOn) : error;
  } finally {
    process.off('SIGINT', interrupt);
    display.end();
  }
}

/** Says how a daemon is. */
export function showStatus(context: Context, status: DaemonStatus): void {
  const { progresssCurrent: done, progresssTotal: total, safetyBackupUrl = null } = status;
  context.result(
    status,
    formatFields([
      ['id', status.id],
      ['type', status.type],
      ['status', status.status],
      ['progress', `${formatCount(done)} of ${formatCount(total)}, ${status.progresssMessage}`],
      ['error', status.errorMessage],
      ['archive', status.backupUrl],
      ['safety archive', safetyBackupUrl],
      ['started', `${formatTime(status.startedOn)} by ${status.startedBy}`],
      ['took', formatDuration(status.totalTimeMS)],
    ]),
  );
}

/** @throws Failure DAEMON_FAILED */
export function expectCompleted({ id, type, status, errorMessage }: DaemonStatus): void {
  if (status === 'FAILED')
    throw new Failure(
      'DAEMON_FAILED',
      'permanent',
      `${type} ${id} has failed: ${printable(errorMessage ?? '')}`,
    );
}
