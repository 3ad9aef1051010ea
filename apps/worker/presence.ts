import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { targetOf } from '#config';
import { displayDatabase, errorSentence, Failure, isSameDatabase, PRODUCT, withTimeout } from '#common';
import type { DatabaseIdentity, ReportProgress, WorkerRemark } from '#contracts';
import type { Logger } from '#logging';
import type { IdentityRecord, WorkerRegistry } from '#queue';
import type { Target } from './job-repository.js';
import { examineRepository, remarksOn, type Repository, type RepositoryFacts } from '#engine';

const BEAT_EVERY_MS = 5_000;
/** How soon a heartbeat shows that a job has begun or ended. */
const SHOW_JOBS_WITHIN_MS = 500;
const LOOK_EVERY_MS = 5_000;
/** How long facts about the repository are cached while it is available. */
const LOOK_AGAIN_AFTER_MS = 60_000;
/** When a PostgreSQL that does not answer counts as unavailable. */
const LOOK_WITHIN_MS = 10_000;
/** How long a stopping worker waits for the queue. */
const LEAVE_WITHIN_MS = 300;

/** The database that a job must find. */
export type Admission = Pick<IdentityRecord, 'identity' | 'predecessors'>;

/** The work of this worker. */
export interface Workload {
  /** The number of jobs that it runs at once. */
  concurrency: number;
  /** The repositories whose jobs it takes; undefined for all. */
  repositories: string[] | undefined;
  /** The ids of the jobs that it runs now. */
  jobs(): string[];
}

/**
 * Writes this worker's heartbeat, and decides whether it may take jobs: not while REPOSITORY_URL leads to another database
 * than the one recorded in the queue. While PostgreSQL does not answer, the worker takes jobs, which fail with the reason.
 * Every job compares the database again on its own connection.
 */
export class Presence {
  private readonly id = randomUUID();
  private readonly since = Date.now();
  private readonly stopped = new AbortController();
  private beats = 0;
  private facts: RepositoryFacts | undefined;
  private lookedOn = -Infinity;
  private trouble: Failure | undefined;
  private record: IdentityRecord | 'forged' | undefined;
  private told = '';
  private looking: Promise<void> = Promise.resolve();
  private beating: Promise<void> = Promise.resolve();
  /** The jobs of the last heartbeat, and when it was written. */
  private shown = { jobs: '', on: -Infinity };

  /** @param onChange called after each check with whether the worker may take jobs */
  constructor(
    private readonly registry: WorkerRegistry,
    private readonly repository: Repository,
    private readonly workload: Workload,
    private readonly onChange: (mayTake: boolean) => Promise<void>,
    private readonly logger: Logger,
  ) {}

  /** Checks once, and then every five seconds. */
  async begin(): Promise<void> {
    await this.registry.renewIdentity().catch((error: unknown) => this.warn(error));
    await this.look();
    void this.repeat(LOOK_EVERY_MS, () => this.look());
    void this.repeat(SHOW_JOBS_WITHIN_MS, () => this.beatIfDue());
  }

  /** Whether REPOSITORY_URL leads to another database than the recorded one. */
  get elsewhere(): boolean {
    const { record, facts } = this;
    if (record === 'forged') return true;
    if (record === undefined || facts === undefined) return false;
    return isSameDatabase(facts.identity, record.identity) === false;
  }

  /** Checks PostgreSQL and the queue now, because a job has found another database. */
  lookNow(): Promise<void> {
    this.lookedOn = -Infinity;
    return this.look();
  }

  private look(): Promise<void> {
    this.looking = this.looking.then(() => this.lookOnce()).catch((error: unknown) => this.warn(error));
    return this.looking;
  }

  /**
   * The database that a job must find. If the queue has none recorded for its repository, this records the one that its
   * URL leads to.
   * @throws Failure REPOSITORY_ELSEWHERE, DATABASE_*, QUEUE_UNAVAILABLE, or the signal's reason
   */
  async admit(
    { name, repository }: Pick<Target, 'name' | 'repository'>,
    report: ReportProgress,
    signal: AbortSignal,
  ): Promise<Admission> {
    let record = await this.registry.identity(name);
    if (record === undefined) {
      const { identity } = await examineRepository({ repository, report, signal });
      await this.registry.recordFirst(identity, name);
      record = await this.registry.identity(name);
    }
    if (record !== undefined && record !== 'forged') return record;
    throw new Failure('REPOSITORY_ELSEWHERE', 'permanent', FORGED);
  }

  /** Removes this worker from the list. */
  async stop(): Promise<void> {
    this.stopped.abort(new Error('The worker stops'));
    const leaving = this.beating.then(() => this.registry.remove(this.id)).catch(() => undefined);
    await Promise.race([leaving, sleep(LEAVE_WITHIN_MS, undefined, { ref: false })]);
  }

  private async repeat(everyMs: number, work: () => Promise<void>): Promise<void> {
    const { signal } = this.stopped;
    while (!signal.aborted) {
      await sleep(everyMs, undefined, { ref: false, signal }).catch(() => undefined);
      if (!signal.aborted) await work();
    }
  }

  /** The heart beats while PostgreSQL does not answer, too. */
  private async beatIfDue(): Promise<void> {
    const { jobs, on } = this.shown;
    if (performance.now() - on >= BEAT_EVERY_MS || jobs !== this.workload.jobs().join()) await this.beat();
  }

  private beat(): Promise<void> {
    this.beating = this.beating.then(() => this.beatOnce()).catch((error: unknown) => this.warn(error));
    return this.beating;
  }

  private async beatOnce(): Promise<void> {
    if (this.stopped.signal.aborted) return;
    const { facts } = this;
    const jobs = this.workload.jobs();
    this.shown = { jobs: jobs.join(), on: performance.now() };
    await this.registry.beat({
      id: this.id,
      beat: ++this.beats,
      at: Date.now(),
      host: hostname(),
      version: PRODUCT.version,
      node: process.versions.node,
      pgDump: facts?.pgDump ?? null,
      jobs,
      concurrency: this.workload.concurrency,
      repositories: this.workload.repositories ?? null,
      target: targetOf(this.repository.url.reveal()),
      role: facts?.rights.role ?? null,
      superuser: facts?.rights.superuser ?? null,
      identity: facts?.identity ?? null,
      takesJobs: !this.elsewhere,
      warnings: this.remarks(),
      since: this.since,
    });
  }

  private async lookOnce(): Promise<void> {
    if (this.stopped.signal.aborted) return;
    const old = performance.now() - this.lookedOn > LOOK_AGAIN_AFTER_MS;
    const asks = this.facts === undefined || this.trouble !== undefined || this.elsewhere || old;
    if (asks) await this.askPostgres();
    const recorded = await this.registry.identity();
    // Only the workers of the recorded database replace a lost record.
    if (recorded !== undefined || !this.elsewhere) this.record = recorded;
    // Another worker may have swapped the database since the last look.
    if (!asks && this.elsewhere) await this.askPostgres();
    await this.acceptSwap();
    if (this.record === undefined && this.facts !== undefined && this.trouble === undefined) {
      await this.registry.recordFirst(this.facts.identity);
      this.record = await this.registry.identity();
    }
    this.tell(this.remarks());
    await this.onChange(!this.elsewhere);
    await this.beat();
  }

  /** Accepts the database that a swap has put in the repository's place, in case the worker that swapped has died. */
  private async acceptSwap(): Promise<void> {
    const { facts, record } = this;
    if (facts === undefined || record === undefined || record === 'forged') return;
    const { identity, next } = record;
    if (next === undefined || isSameDatabase(facts.identity, next) !== true) return;
    // The new database has the repository's name only after the swap.
    if (facts.identity.databaseName === next.databaseName && isSameDatabase(next, identity) === false)
      this.record = await this.registry.accept(facts.identity, true);
  }

  private async askPostgres(): Promise<void> {
    const late = () => new Failure('DATABASE_UNREACHABLE', 'transient', 'PostgreSQL does not answer.');
    const repository = { ...this.repository, retryForMs: 0 };
    try {
      this.facts = await withTimeout(LOOK_WITHIN_MS, this.stopped.signal, late, (signal) =>
        examineRepository({ repository, signal }),
      );
      this.lookedOn = performance.now();
      this.trouble = undefined;
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      this.trouble = error;
    }
  }

  private remarks(): WorkerRemark[] {
    const { facts, record, trouble } = this;
    const remarks: WorkerRemark[] = [];
    if (this.elsewhere)
      remarks.push({
        kind: 'OTHER_DATABASE',
        level: 'warning',
        message:
          record === 'forged' || record === undefined || facts === undefined
            ? FORGED
            : otherDatabase(facts.identity, record.identity),
      });
    if (trouble !== undefined)
      remarks.push({
        kind: 'POSTGRES_AWAY',
        level: 'warning',
        message: `Waiting for PostgreSQL: ${errorSentence(trouble)}`,
      });
    return facts === undefined ? remarks : [...remarks, ...remarksOn(facts)];
  }

  /** Logs the remarks when they change. */
  private tell(remarks: WorkerRemark[]): void {
    const said = JSON.stringify(remarks);
    if (said === this.told) return;
    this.told = said;
    for (const { kind, level, message } of remarks)
      this.logger[level === 'warning' ? 'warn' : 'info']({ kind }, message);
  }

  private warn(error: unknown): void {
    if (!this.stopped.signal.aborted)
      this.logger.warn({ reason: errorSentence(error) }, 'Cannot write the heartbeat');
  }
}

const FORGED =
  'Takes no jobs: the record of the database in the queue was not signed with this SECRET_KEY. Set the same SECRET_KEY everywhere, or accept the database again.';

function otherDatabase(here: DatabaseIdentity, recorded: DatabaseIdentity): string {
  return `Takes no jobs: REPOSITORY_URL leads to ${displayDatabase(here)}, and the queue is for ${displayDatabase(recorded)}. Correct REPOSITORY_URL, or accept this database if the repository has moved there.`;
}
