import { errorSentence } from '#common';
import type { Logger } from '#logging';
import { type DaemonJob, type TakenJobs, termination } from '#queue';

/** How often a worker checks whether its job was terminated. */
const LOOK_EVERY_MS = 500;

/** Stops a job if somebody terminates it. That happens in another process, so this polls the queue. */
export function watchForTermination(
  jobs: TakenJobs,
  job: DaemonJob,
  stop: AbortController,
  log: Logger,
): Disposable {
  let asking = false;
  const ask = async () => {
    if (asking || stop.signal.aborted) return;
    asking = true;
    try {
      if (await jobs.isTerminated(job.id ?? '')) stop.abort(termination(job.name));
    } catch (error) {
      log.warn({ reason: errorSentence(error) }, 'Cannot check whether the job was terminated');
    } finally {
      asking = false;
    }
  };
  const timer = setInterval(() => void ask(), LOOK_EVERY_MS);
  return { [Symbol.dispose]: () => clearInterval(timer) };
}
