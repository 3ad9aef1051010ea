import { setTimeout as sleep } from 'node:timers/promises';
import { OnWorkerEvent, Processor, WorkerHost } from '@nestjs/bullmq';
import type { BeforeApplicationShutdown, OnApplicationBootstrap } from '@nestjs/common';
import { UnrecoverableError, WaitingError } from 'bullmq';
import { errorSentence, Failure, PRODUCT } from '#common';
import type { Logger } from '#logging';
import {
  DAEMON_QUEUE,
  type DaemonJob,
  type DaemonJobResult,
  type DaemonQueue,
  jobFailure,
  JobJournal,
  signedResult,
  termination,
  type WorkerRegistry,
} from '#queue';
import type { Repository } from '#engine';
import type { DaemonRunner } from './daemon-runner.js';
import { Presence } from './presence.js';

/**
 * A killed worker's daemon is taken over after about the sum of the first two. BullMQ's own count of crashes would
 * fail a daemon without a chance to remove what it left: it is put out of the way, and MOST_TAKEOVERS counts.
 */
const TAKEOVER = { lockDuration: 15_000, stalledInterval: 5_000, maxStalledCount: 2 ** 31 - 1 };

/**
 * How soon a worker asks a queue again that refused its connection: before the lock runs out on a daemon whose end
 * could not be told.
 */
const ASK_QUEUE_AGAIN = { runRetryDelay: 2_000 };

/** A daemon that outlives no worker may be what ends them. */
const MOST_TAKEOVERS = 10;

/** How long a worker that stops waits until its daemons are back in the queue. */
const HAND_BACK_WITHIN_MS = 3_300;

/** How long a worker that stops waits for what its failed daemons still clean up. */
const FINISH_WITHIN_MS = 500;

/** A worker that was told to stop has ended after so long, whatever it waits for: its daemons are taken over then. */
const END_WITHIN_MS = 4_500;

/** How often a worker looks whether its daemon was told to end. */
const LOOK_EVERY_MS = 500;

const LOOK_WHETHER_ENDED_EVERY_MS = 20;

/** A worker that is led to one database at one time and to another at the next must not pass a job round and round. */
const HAND_BACK_AFTER_MS = 1_000;

/** Takes daemons off the queue and has them run. */
@Processor(DAEMON_QUEUE, { autorun: false, ...TAKEOVER, ...ASK_QUEUE_AGAIN })
export class DaemonProcessor extends WorkerHost implements OnApplicationBootstrap, BeforeApplicationShutdown {
  private readonly running = new Map<string, { stop: AbortController; journal: JobJournal }>();
  private readonly presence: Presence;
  private stopping = false;
  private taking = false;

  constructor(
    private readonly runner: DaemonRunner,
    private readonly daemons: DaemonQueue,
    registry: WorkerRegistry,
    repository: Repository,
    private readonly concurrency: number,
    private readonly logger: Logger,
  ) {
    super();
    this.presence = new Presence(registry, repository, (mayTake) => this.take(mayTake), logger);
  }

  async onApplicationBootstrap(): Promise<void> {
    await this.worker.waitUntilReady();
    this.worker.concurrency = this.concurrency;
    await this.presence.begin();
    // Whatever could not be asked is found out by the jobs.
    if (!this.presence.elsewhere) await this.take(true);
  }

  /** Takes daemons from now on, or none any more: what runs goes on. */
  private async take(mayTake: boolean): Promise<void> {
    if (this.stopping || mayTake === this.taking) return;
    this.taking = mayTake;
    if (!mayTake) return this.worker.pause(true);
    this.logger.info({ version: PRODUCT.version, concurrency: this.concurrency }, 'The worker takes daemons');
    if (this.worker.isPaused()) return void (await this.worker.resume());
    this.worker.run().catch((error: unknown) => {
      this.logger.fatal({ err: error }, 'The worker cannot take daemons any more');
      process.kill(process.pid, 'SIGTERM');
    });
  }

  /** Runs one attempt of a daemon. */
  async process(job: DaemonJob, token: string | undefined): Promise<DaemonJobResult> {
    const id = job.id ?? '';
    // What was taken may be another job than what was signed since: only the latter was checked.
    const { name, data, progress } = await this.whenConfirmed(job);
    Object.assign(job, { name, data, progress });
    const log = this.logger.child({ daemon: id, type: job.name, attempt: job.attemptsStarted });
    // BullMQ knows a worker's locks by the daemon's id: an attempt that lost its own must be over before another
    // one begins here, or would take the new lock with it.
    if (this.stopping || this.presence.elsewhere || this.running.has(id)) {
      while (this.running.has(id)) await sleep(LOOK_WHETHER_ENDED_EVERY_MS);
      return this.handBack(job, token, log);
    }
    const ended = endOf(job);
    // One that was told to end before it began never starts, and leaves no trace of having done so.
    if (ended !== undefined && typeof job.progress !== 'object') throw jobFailure(ended);
    const stop = new AbortController();
    const journal = new JobJournal(job, {
      keys: this.daemons.keys,
      urlOf: (key) => this.runner.urlOf(key),
      reload: () => this.daemons.find(id),
      onLost: (failure) => stop.abort(failure),
      onError: (error) => log.warn({ err: error }, 'Progress could not be written'),
    });
    this.running.set(id, { stop, journal });
    log.info({ takeovers: job.stalledCounter }, 'Started');
    const watching = ended === undefined ? this.watchForTermination(job, stop, log) : undefined;
    try {
      const admission = await this.presence.admit(journal.report, stop.signal);
      const result = await this.runner.run(job, journal, stop.signal, admission, ended);
      await journal.end();
      log.info({ archive: result.backupUrl, entities: result.entities }, 'Completed');
      return signedResult(this.daemons.keys, job, result);
    } catch (error) {
      if (this.stopping && !isTermination(error)) {
        await journal.end('Waiting for a worker: the one before was told to stop');
        return await this.handBack(job, token, log);
      }
      if (error instanceof Failure && error.code === 'REPOSITORY_ELSEWHERE') {
        log.warn({ reason: errorSentence(error) }, 'Handing back: another database answers');
        await this.presence.lookAnew();
        await sleep(HAND_BACK_AFTER_MS);
        await journal.end('Waiting for a worker whose REPOSITORY_URL leads to the repository');
        return await this.handBack(job, token, log);
      }
      log.error({ err: error }, `Failed: ${errorSentence(error)}`);
      journal.failed(error);
      const failure = jobFailure(error);
      if (willRetry(job, failure)) {
        const attempt = `Attempt ${job.attemptsMade + 1} of ${job.opts.attempts}`;
        await journal.end(`${attempt} failed: ${failure.message} Trying again.`);
        throw failure;
      }
      await journal.end();
      // Why it was given up is what its user must hear first.
      if (ended !== undefined && error !== ended)
        throw jobFailure(ended.and(`What it left could not be removed: ${failure.message}`));
      throw failure;
    } finally {
      watching?.close();
      journal.close();
      this.running.delete(id);
    }
  }

  /** Gives a daemon back to the queue, at once and without counting it as a failure. */
  private async handBack(job: DaemonJob, token: string | undefined, log: Logger): Promise<never> {
    await job.moveToWait(token ?? '');
    log.info('Handed back to the queue');
    throw new WaitingError();
  }

  private async whenConfirmed(job: DaemonJob): Promise<DaemonJob> {
    try {
      return await this.daemons.confirmed(job);
    } catch (error) {
      throw jobFailure(error);
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
    setTimeout(() => {
      this.logger.warn('Something does not end: the worker ends without waiting for it');
      process.exit(1);
    }, END_WITHIN_MS).unref();
    await this.worker.pause(true);
    const leaving = this.presence.stop();
    for (const { stop } of this.running.values())
      stop.abort(new Failure('WORKER_STOPPING', 'transient', 'The worker was told to stop.'));
    // Nest closes the queue next, which handing a daemon back still needs.
    for (const deadline = Date.now() + HAND_BACK_WITHIN_MS; this.running.size > 0 && Date.now() < deadline;)
      await sleep(LOOK_WHETHER_ENDED_EVERY_MS);
    await Promise.all([leaving, this.runner.finish(FINISH_WITHIN_MS)]);
  }
}

/** Why a daemon's work is not to be done, or not any more: only what was begun is settled. */
function endOf(job: DaemonJob): Failure | undefined {
  if (job.data.terminatedOn !== undefined) return termination(job.name);
  if (job.stalledCounter <= MOST_TAKEOVERS) return undefined;
  return new Failure(
    'WORKERS_DIED',
    'permanent',
    `${job.stalledCounter} workers in turn died or lost the queue while they ran this daemon: it is given up.`,
    {
      hint: "Look into the workers' logs and at what ended them, such as too little memory, then start it again.",
    },
  );
}

/** Whether BullMQ will have the daemon tried again after this failure. */
function willRetry(job: DaemonJob, failure: Error): boolean {
  return !(failure instanceof UnrecoverableError) && job.attemptsMade + 1 < (job.opts.attempts ?? 1);
}

function isTermination(error: unknown): boolean {
  return error instanceof Failure && error.code === 'TERMINATED';
}
