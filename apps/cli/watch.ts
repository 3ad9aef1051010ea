import { type ErrorCode, Failure, formatCount, formatDuration, remarksOf, type RetryOptions } from '#common';
import { type DaemonStatus } from '#contracts';
import type { Api } from './api.js';
import type { Context } from './context.js';
import { follow } from './follow.js';
import { type Amber, formatFields, formatTime, printable } from './format.js';
import { showingProgress } from './progress-display.js';

/** How long --wait retries while the server does not answer. */
export const RETRY_MS = 5 * 60_000;

/** The failures of a connection. The server reports others, such as that its queue does not answer. */
const LOST: ErrorCode[] = ['SERVER_UNREACHABLE', 'CONNECTION_LOST'];

/** Reports once that the server does not answer, and once that it answers again. */
export function reportingTrouble(
  say: (text: string) => void,
  retryForMs: number,
): Pick<RetryOptions, 'retryForMs' | 'onTrouble'> {
  let told = false;
  return {
    retryForMs,
    onTrouble: (trouble) => {
      if (trouble === undefined) {
        if (told) say('The server answers again.');
        told = false;
      } else if (!told) {
        const { code, message } = trouble.failure;
        const sentence = printable(message);
        say(LOST.includes(code) ? `Connection lost, trying again: ${sentence}` : `${sentence} Trying again.`);
        told = true;
      }
    },
  };
}

/**
 * Shows a job's progress until it ends. Ctrl-C ends only the display.
 * @throws Failure INTERRUPTED, and those of {@link follow}
 */
export async function watched(api: Api, id: string): Promise<DaemonStatus> {
  const message = `Job ${id} continues. To follow it: snapshotd status ${id} --wait. To end it: snapshotd terminate ${id}`;
  return showingProgress(formatCount, { signals: ['SIGINT'], message }, async (display, signal) => {
    try {
      return await follow(api, id, {
        ...reportingTrouble((text) => display.say(text), RETRY_MS),
        onStatus: (status) =>
          display.update({
            done: status.progresssCurrent,
            total: status.progresssTotal,
            message: status.progresssMessage,
            finished: status.status === 'COMPLETED',
          }),
        signal,
      });
    } catch (error) {
      throw error instanceof Failure && error.persistence === 'transient' ? error.and(message) : error;
    }
  });
}

type Field = [name: string, value: string | Amber];

/** The status of a job, which is amber if it omits contents or warns. */
export function stateOf(daemon: DaemonStatus): string | Amber {
  const noted = remarksOf(daemon);
  return noted === undefined ? daemon.status : { amber: `${daemon.status} ${noted}` };
}

/** Prints a job's status. */
export function showStatus(context: Context, status: DaemonStatus): void {
  const { progresssCurrent: done, progresssTotal: total, safetyBackupUrl = null, verification } = status;
  context.result(
    status,
    formatFields([
      ['id', status.id],
      ['type', status.type],
      ['repository', status.repository ?? null],
      ['status', stateOf(status)],
      ['progress', `${formatCount(done)} of ${formatCount(total)}, ${status.progresssMessage}`],
      ['error', status.errorMessage],
      ...(status.omissions ?? []).map(({ what, why }): Field => ['omits', { amber: `${what}: ${why}` }]),
      ['level', verification?.level ?? null],
      ...(verification?.proven ?? []).map((proven): Field => ['proven', proven]),
      ...(verification?.notProven ?? []).map((open): Field => ['not proven', open]),
      ...(status.warnings ?? []).map((warning): Field => ['warning', { amber: warning }]),
      ['archive', status.backupUrl],
      ['safety archive', safetyBackupUrl],
      ['database', status.database ?? null],
      ['kept database', status.keptDatabase ?? null],
      ['started', `${formatTime(status.startedOn)} by ${status.startedBy}`],
      ['took', formatDuration(status.totalTimeMS)],
    ]),
  );
}

/** Shows a job's progress until its end, then its status. @throws Failure DAEMON_FAILED */
export async function showEnd(context: Context, api: Api, id: string): Promise<void> {
  const status = await watched(api, id);
  showStatus(context, status);
  expectCompleted(status);
}

/** @throws Failure DAEMON_FAILED */
function expectCompleted({ id, type, status, errorMessage }: DaemonStatus): void {
  if (status === 'FAILED')
    throw new Failure('DAEMON_FAILED', 'permanent', `${type} ${id} failed: ${printable(errorMessage ?? '')}`);
}
