import { OnWorkerEvent, Processor, WorkerHost } from '@nestjs/bullmq';
import type { BeforeApplicationShutdown, OnApplicationBootstrap } from '@nestjs/common';
import { DelayedError, WaitingError } from 'bullmq';
import { errorSentence, Failure } from '#common';
import { DEFAULT_REPOSITORY } from '#contracts';
import type { Logger } from '#logging';
import {
  CHECK_QUEUE,
  type DaemonJob,
  type DaemonJobResult,
  isCheckId,
  jobFailure,
  notAuthentic,
  TAKEOVER,
  type TakenJobs,
} from '#queue';
import type { CheckRunner } from './check-runner.js';
import { watchForTermination } from './watch-for-termination.js';

/** Checks that one worker runs at once, beside its other jobs. */
const AT_ONCE = 2;
/** When a check of a repository that this worker does not serve is offered again. */
const OFFER_AGAIN_AFTER_MS = 500;
/** A check that kills its workers is not tried for ever. */
const OPTIONS = { ...TAKEOVER, maxStalledCount: 2, concurrency: AT_ONCE, runRetryDelay: 2_000 };

/** Takes checks from their own queue, so that a worker that is busy with a backup still answers them. */
@Processor(CHECK_QUEUE, OPTIONS)
export class CheckProcessor extends WorkerHost implements OnApplicationBootstrap, BeforeApplicationShutdown {
  private readonly stopping = new AbortController();

  constructor(
    private readonly runner: CheckRunner,
    private readonly jobs: TakenJobs,
    /** The repositories that this worker serves; undefined for all. */
    private readonly repositories: string[] | undefined,
    private readonly logger: Logger,
  ) {
    super();
  }

  /** Checks the repository once, so that its newest check is that of a running worker. */
  onApplicationBootstrap(): void {
    if (!this.serves(DEFAULT_REPOSITORY)) return;
    this.runner.checkDefault(this.stopping.signal).catch((error: unknown) => {
      if (!this.stopping.signal.aborted)
        this.logger.warn({ reason: errorSentence(error) }, 'Cannot check the repository');
    });
  }

  /** Runs one check. */
  async process(taken: DaemonJob, token: string | undefined): Promise<DaemonJobResult> {
    const log = this.logger.child({ daemon: taken.id, type: taken.name });
    const stop = new AbortController();
    let job: DaemonJob;
    try {
      job = await this.jobs.confirmed(taken);
      // Somebody may have copied another job into this queue.
      if (job.name !== 'CHECK' || !isCheckId(job.id ?? '')) throw notAuthentic();
    } catch (error) {
      throw jobFailure(error);
    }
    if (!this.serves(job.data.repository?.name ?? DEFAULT_REPOSITORY)) {
      await taken.moveToDelayed(Date.now() + OFFER_AGAIN_AFTER_MS, token);
      throw new DelayedError();
    }
    using _watching = watchForTermination(this.jobs, job, stop, log);
    try {
      const signal = AbortSignal.any([stop.signal, this.stopping.signal]);
      return this.jobs.signed(job, await this.runner.run(job.data, signal));
    } catch (error) {
      if (this.stopping.signal.aborted) {
        await taken.moveToWait(token ?? '');
        throw new WaitingError();
      }
      log.error({ err: error }, `Failed: ${errorSentence(error)}`);
      throw jobFailure(error);
    }
  }

  private serves(repository: string): boolean {
    return this.repositories?.includes(repository) ?? true;
  }

  @OnWorkerEvent('error')
  onError(error: Error): void {
    this.logger.warn({ reason: error.message }, 'The queue has an error');
  }

  /** Other workers repeat the running checks. */
  beforeApplicationShutdown(): void {
    this.stopping.abort(new Failure('WORKER_STOPPING', 'transient', 'The worker is stopping.'));
  }
}
