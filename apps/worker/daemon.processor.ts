import { setTimeout as sleep } from 'node:timers/promises';
import { OnWorkerEvent, Processor, WorkerHost } from '@nestjs/bullmq';
import type { BeforeApplicationShutdown, OnApplicationBootstrap } from '@nestjs/common';
import { DelayedError, UnrecoverableError, WaitingError } from 'bullmq';
import { errorSentence, Failure, levelOf, pollUntil, PRODUCT } from '#common';
import type { Settings } from '#config';
import { DEFAULT_REPOSITORY } from '#contracts';
import type { Logger } from '#logging';
import {
  DAEMON_QUEUE,
  type DaemonJob,
  type DaemonJobResult,
  jobFailure,
  type JobJournal,
  TAKEOVER,
  type TakenJobs,
  termination,
  type WorkerRegistry,
} from '#queue';
import type { DaemonRunner } from './daemon-runner.js';
import { Presence } from './presence.js';
import { watchForTermination } from './watch-for-termination.js';

/** How soon a worker calls a queue again that refused its connection: before the lock of a job that has ended expires. */
const RETRY_QUEUE = { runRetryDelay: 2_000 };

/** A job that was taken over this often may be the cause of its workers' deaths. */
const MOST_TAKEOVERS = 10;

/** How long a stopping worker waits until its jobs are back in the queue. */
const HAND_BACK_WITHIN_MS = 3_300;

/** How long a stopping worker waits for the clean-up of failed jobs. */
const FINISH_WITHIN_MS = 500;

/** When a stopping worker ends in any case. Other workers then take its jobs over. */
const END_WITHIN_MS = 4_500;

const LOOK_WHETHER_ENDED_EVERY_MS = 20;

/** A worker whose REPOSITORY_URL leads to changing databases must not pass a job round in a tight loop. */
const HAND_BACK_AFTER_MS = 1_000;

/** When a job that this worker does not serve is offered again: to it or to another worker. */
const OFFER_AGAIN_AFTER_MS = 1_000;

/** Takes jobs from the queue and runs them. */
@Processor(DAEMON_QUEUE, { autorun: false, ...TAKEOVER, ...RETRY_QUEUE })
export class DaemonProcessor extends WorkerHost implements OnApplicationBootstrap, BeforeApplicationShutdown {
  private readonly running = new Map<string, { stop: AbortController; journal: JobJournal }>();
  private readonly presence: Presence;
  private readonly concurrency: number;
  private readonly repositories: string[] | undefined;
  private stopping = false;
  private taking = false;

  constructor(
    private readonly runner: DaemonRunner,
    private readonly jobs: TakenJobs,
    registry: WorkerRegistry,
    { repository, workerConcurrency, workerRepositories }: Settings,
    private readonly logger: Logger,
  ) {
    super();
    this.concurrency = workerConcurrency;
    this.repositories = workerRepositories;
    const workload = {
      concurrency: workerConcurrency,
      repositories: workerRepositories,
      jobs: () => [...this.running.keys()],
    };
    this.presence = new Presence(registry, repository, workload, (mayTake) => this.take(mayTake), logger);
  }

  async onApplicationBootstrap(): Promise<void> {
    await this.worker.waitUntilReady();
    this.worker.concurrency = this.concurrency;
    await this.presence.begin();
    await this.runner.renewRecords();
    // If PostgreSQL or the queue did not answer, each job checks the database itself.
    if (!this.presence.elsewhere) await this.take(true);
  }

  /** Starts or stops taking jobs. Running jobs continue. */
  private async take(mayTake: boolean): Promise<void> {
    if (this.stopping || mayTake === this.taking) return;
    this.taking = mayTake;
    if (!mayTake) return this.worker.pause(true);
    this.logger.info({ version: PRODUCT.version, concurrency: this.concurrency }, 'The worker takes jobs');
    if (this.worker.isPaused()) return void (await this.worker.resume());
    this.worker.run().catch((error: unknown) => {
      this.logger.fatal({ err: error }, 'The worker can take no further jobs');
      process.kill(process.pid, 'SIGTERM');
    });
  }

  /** Runs one attempt of a job. */
  async process(job: DaemonJob, token: string | undefined): Promise<DaemonJobResult> {
    const id = job.id ?? '';
    // The taken data may differ from the data that was signed since. Only the signed data was checked.
    const { name, data, progress } = await this.whenConfirmed(job);
    Object.assign(job, { name, data, progress });
    const log = this.logger.child({ daemon: id, type: job.name, attempt: job.attemptsStarted });
    // BullMQ keeps a worker's locks by the job's id: an attempt that lost its lock must end before another begins here,
    // or its end would release the new lock.
    if (this.stopping || this.presence.elsewhere || this.running.has(id)) {
      while (this.running.has(id)) await sleep(LOOK_WHETHER_ENDED_EVERY_MS);
      return this.handBack(job, token, log);
    }
    if (!this.serves(job)) return this.giveBack(job, token);
    const ended = endOf(job);
    // A job that was terminated before it began never starts, and its status shows no attempt.
    if (ended !== undefined && typeof job.progress !== 'object') throw jobFailure(ended);
    const stop = new AbortController();
    const journal = this.jobs.journal(job, {
      urlOf: (key) => this.runner.urlOf(key),
      onLost: (failure) => stop.abort(failure),
      onError: (error) => log.warn({ err: error }, 'Cannot write progress'),
    });
    this.running.set(id, { stop, journal });
    log.info({ takeovers: job.stalledCounter }, 'Started');
    const watching = ended === undefined ? watchForTermination(this.jobs, job, stop, log) : undefined;
    try {
      const admission = needsDatabase(job)
        ? await this.presence.admit(this.runner.targetOf(job), journal.report, stop.signal)
        : {};
      const result = await this.runner.run(job, journal, stop.signal, admission, ended);
      await journal.end();
      log.info({ archive: result.backupUrl, entities: result.entities }, 'Completed');
      return this.jobs.signed(job, result);
    } catch (error) {
      if (this.stopping && !isTermination(error)) {
        await journal.end('Waiting for a worker: the previous one is stopping');
        return await this.handBack(job, token, log);
      }
      if (job.data.repository === undefined && isElsewhere(error)) {
        log.warn({ reason: errorSentence(error) }, 'Handing back: another database answers');
        await this.presence.lookNow();
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
      // The user needs the reason why the job ended first.
      if (ended !== undefined && error !== ended)
        throw jobFailure(ended.and(`Cannot remove the remains of its attempts: ${failure.message}`));
      throw failure;
    } finally {
      watching?.[Symbol.dispose]();
      journal.close();
      this.running.delete(id);
    }
  }

  /** Returns a job to the queue at once, without counting a failure. */
  private async handBack(job: DaemonJob, token: string | undefined, log: Logger): Promise<never> {
    await job.moveToWait(token ?? '');
    log.info('Handed back to the queue');
    throw new WaitingError();
  }

  /** Whether WORKER_REPOSITORIES names the job's repository. */
  private serves({ data: { repository } }: DaemonJob): boolean {
    return this.repositories?.includes(repository?.name ?? DEFAULT_REPOSITORY) ?? true;
  }

  /** Leaves a job to other workers, which counts as no attempt: BullMQ cannot filter a queue. */
  private async giveBack(job: DaemonJob, token: string | undefined): Promise<never> {
    await job.moveToDelayed(Date.now() + OFFER_AGAIN_AFTER_MS, token);
    throw new DelayedError();
  }

  private async whenConfirmed(job: DaemonJob): Promise<DaemonJob> {
    try {
      return await this.jobs.confirmed(job);
    } catch (error) {
      throw jobFailure(error);
    }
  }

  /** Stops a job whose lock is lost: another worker may have taken it over. */
  @OnWorkerEvent('lockRenewalFailed')
  onLockLost(ids: string[]): void {
    for (const id of ids) {
      const daemon = this.running.get(id);
      daemon?.journal.close();
      daemon?.stop.abort(
        new Failure('WORKER_LOST_LOCK', 'transient', 'The worker lost its lock on the job.'),
      );
    }
  }

  @OnWorkerEvent('error')
  onError(error: Error): void {
    this.logger.warn({ reason: error.message }, 'The queue has an error');
  }

  /** Returns running jobs to the queue at once, for other workers. */
  async beforeApplicationShutdown(): Promise<void> {
    this.stopping = true;
    setTimeout(() => {
      this.logger.warn('The worker exits without waiting for its unfinished work');
      process.exit(1);
    }, END_WITHIN_MS).unref();
    await this.worker.pause(true);
    const leaving = this.presence.stop();
    for (const { stop } of this.running.values())
      stop.abort(new Failure('WORKER_STOPPING', 'transient', 'The worker is stopping.'));
    // Nest closes the queue next, which returning a job still needs.
    await pollUntil(() => this.running.size === 0 || undefined, {
      everyMs: LOOK_WHETHER_ENDED_EVERY_MS,
      timeoutMs: HAND_BACK_WITHIN_MS,
    });
    await Promise.all([leaving, this.runner.finish(FINISH_WITHIN_MS)]);
  }
}

/** A verification of level READ never connects to the repository, so it works while PostgreSQL is down. */
function needsDatabase({ name, data }: DaemonJob): boolean {
  return name !== 'VERIFY' || levelOf(data.archive ?? {}) !== 'READ';
}

/** The reason to end a job without further work: only the remains of its attempts are removed. */
function endOf(job: DaemonJob): Failure | undefined {
  if (job.data.terminatedOn !== undefined) return termination(job.name);
  if (job.stalledCounter <= MOST_TAKEOVERS) return undefined;
  return new Failure(
    'WORKERS_DIED',
    'permanent',
    `Giving up: ${job.stalledCounter} workers in turn died or lost the queue while they ran this job.`,
    {
      hint: "Check the workers' logs for the cause, such as too little memory, then start the job again.",
    },
  );
}

/** Whether BullMQ will retry the job after this failure. */
function willRetry(job: DaemonJob, failure: Error): boolean {
  return !(failure instanceof UnrecoverableError) && job.attemptsMade + 1 < (job.opts.attempts ?? 1);
}

/** Whether another worker may find the right database. All find the same one at the URL of a stored repository. */
function isElsewhere(error: unknown): error is Failure {
  return error instanceof Failure && error.code === 'REPOSITORY_ELSEWHERE';
}

function isTermination(error: unknown): boolean {
  return error instanceof Failure && error.code === 'TERMINATED';
}
