import { setTimeout as sleep } from 'node:timers/promises';
import { OnWorkerEvent, Processor, WorkerHost } from '@nestjs/bullmq';
import type { BeforeApplicationShutdown, OnApplicationBootstrap } from '@nestjs/common';
import { UnrecoverableError, WaitingError } from 'bullmq';
import { errorSentence, Failure } from '#contracts';
import type { Logger } from '#logging';
import {
  DAEMON_QUEUE,
  type DaemonJob,
  type DaemonJobResult,
  type DaemonQueue,
  jobFailure,
  JobJournal,
  termination,
} from '#queue';
import type { DaemonRunner } from './daemon-runner.js';

/**
 * A killed worker's daemon is taken over after about the sum of the first two. A worker that is killed again
 * and again is no reason to give a daemon up before the tenth time.
 */
const TAKEOVER = { lockDuration: 15_000, stalledInterval: 5_000, maxStalledCount: 10 };

/** How long a worker that stops waits until its daemons are back in the queue. */
const HAND_BACK_WITHIN_MS = 4_000;

/** How long a worker that stops waits for what its failed daemons still clean up. */
const FINISH_WITHIN_MS = 1_000;

/** How often a worker looks whether its daemon was told to end. */
const LOOK_EVERY_MS = 500;

/** Takes daemons off the queue and has them run. */
@Processor(DAEMON_QUEUE, { autorun: false, ...TAKEOVER })
export class DaemonProcessor extends WorkerHost implements OnApplicationBootstrap, BeforeApplicationShutdown {
  private readonly running = new Map<string, { stop: AbortController; journal: JobJournal }>();
  private stopping = false;

  constructor(
    private readonly runner: DaemonRunner,
    private readonly daemons: DaemonQueue,
    private readonly concurrency: number,
    private readonly logger: Logger,
  ) {
    super();
  }

  onApplicationBootstrap(): void {
    this.worker.concurrency = this.concurrency;
    this.worker.run().catch((error: unknown) => {
      this.logger.fatal({ err: error }, 'The worker cannot take daemons any more');
      process.kill(process.pid, 'SIGTERM');
    });
  }

  /** Runs one attempt of a daemon. */
  async process(job: DaemonJob, token: string | undefined): Promise<DaemonJobResult> {
    const id = job.id ?? '';
    const log = this.logger.child({ daemon: id, type: job.name, attempt: job.attemptsStarted });
    const ended = job.data.terminatedOn === undefined ? undefined : termination(job.name);
    // One that was told to end before it began never starts, and leaves no trace of having done so.
    if (ended !== undefined && typeof job.progress !== 'object') throw jobFailure(ended);
    const journal = new JobJournal(job, {
      urlOf: (key) => this.runner.urlOf(key),
      reload: () => this.daemons.find(id),
      onError: (error) => log.warn({ err: error }, 'Progress could not be written'),
    });
    const stop = new AbortController();
    this.running.set(id, { stop, journal });
    log.info('Started');
    const watching = ended === undefined ? this.watchForTermination(job, stop, log) : undefined;
    try {
      const result = await this.runner.run(job, journal, stop.signal, ended);
      await journal.flush();
      log.info({ archive: result.backupUrl, entities: result.entities }, 'Completed');
      return result;
    } catch (error) {
      await journal.flush();
      if (this.stopping && token !== undefined && !isTermination(error)) {
        log.info('Handed back to the queue');
        await job.moveToWait(token);
        throw new WaitingError();
      }
      log.error({ err: error }, `Failed: ${errorSentence(error)}`);
      const failure = jobFailure(error);
      if (willRetry(job, failure)) {
        journal.say(
          `Attempt ${job.attemptsMade + 1} of ${job.opts.attempts} failed: ${failure.message} Trying again.`,
        );
        await journal.flush();
      }
      throw failure;
    } finally {
      watching?.close();
      this.running.delete(id);
    }
  }

  /** Looks whether the daemon was told to end: by another process, so that there is nothing to wait for. */
  private watchForTermination(job: DaemonJob, stop: AbortController, log: Logger): { close(): void } {
    let asking = false;
    const ask = async () => {
      if (asking || stop.signal.aborted) return;
      asking = true;
      try {
        if (await this.daemons.isTerminated(job.id ?? '')) stop.abort(termination(job.name));
      } catch (error) {
        log.warn({ reason: errorSentence(error) }, 'Cannot see whether the daemon was told to end');
      } finally {
        asking = false;
      }
    };
    const timer = setInterval(() => void ask(), LOOK_EVERY_MS);
    return { close: () => clearInterval(timer) };
  }

  /** Another worker may have the daemon by now: whatever this one does on is in its way. */
  @OnWorkerEvent('lockRenewalFailed')
  onLockLost(ids: string[]): void {
    for (const id of ids) {
      const daemon = this.running.get(id);
      daemon?.journal.close();
      daemon?.stop.abort(
        new Failure('WORKER_LOST_LOCK', 'transient', 'The worker lost its hold on the daemon.'),
      );
    }
  }

  @OnWorkerEvent('error')
  onError(error: Error): void {
    this.logger.warn({ reason: error.message }, 'The queue has an error');
  }

  /** Running daemons go back to the queue at once, for another worker. */
  async beforeApplicationShutdown(): Promise<void> {
    this.stopping = true;
    await this.worker.pause(true);
    for (const { stop } of this.running.values())
      stop.abort(new Failure('WORKER_STOPPING', 'transient', 'The worker was told to stop.'));
    // Nest closes the queue next, which handing a daemon back still needs.
    for (const deadline = Date.now() + HAND_BACK_WITHIN_MS; this.running.size > 0 && Date.now() < deadline;)
      await sleep(20);
    await this.runner.finish(FINISH_WITHIN_MS);
  }
}

/** Whether BullMQ will have the daemon tried again after this failure. */
function willRetry(job: DaemonJob, failure: Error): boolean {
  return !(failure instanceof UnrecoverableError) && job.attemptsMade + 1 < (job.opts.attempts ?? 1);
}

function isTermination(error: unknown): boolean {
  return error instanceof Failure && error.code === 'TERMINATED';
}
