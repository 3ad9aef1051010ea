import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { displayDatabase, errorSentence, Failure, isSameDatabase, PRODUCT } from '#common';
import type { DatabaseIdentity, ReportProgress, WorkerRemark } from '#contracts';
import type { Logger } from '#logging';
import type { IdentityRecord, WorkerRegistry } from '#queue';
import { examineRepository, remarksOn, type Repository, type RepositoryFacts } from '#engine';

const BEAT_EVERY_MS = 5_000;
/** How long what was found out about the repository is believed while nothing is wrong. */
const LOOK_AGAIN_AFTER_MS = 60_000;
/** PostgreSQL may hang: nobody waits longer than this to be told so. */
const LOOK_WITHIN_MS = 10_000;
/** A queue that is away is not waited for when the worker ends. */
const LEAVE_WITHIN_MS = 300;

/** What a job must know before it begins. */
export type Admission = Pick<IdentityRecord, 'identity' | 'predecessors'>;

/**
 * This worker as others see it, and whether it may take jobs: not while REPOSITORY_URL leads to another database than
 * the one that the queue has recorded. While PostgreSQL cannot be asked, the worker takes jobs, whose errors say so;
 * every job compares the database again on the connection that it uses.
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

  /** @param onChange told whether jobs may be taken, whenever that was looked at */
  constructor(
    private readonly registry: WorkerRegistry,
    private readonly repository: Repository,
    private readonly onChange: (mayTake: boolean) => Promise<void>,
    private readonly logger: Logger,
  ) {}

  /** Looks once, and from then on again and again. */
  async begin(): Promise<void> {
    await this.registry.renewIdentity().catch((error: unknown) => this.warn(error));
    await this.look();
    void this.goOn();
  }

  /** Whether REPOSITORY_URL leads to another database than the recorded one. */
  get elsewhere(): boolean {
    const { record, facts } = this;
    if (record === 'forged') return true;
    if (record === undefined || facts === undefined) return false;
    return isSameDatabase(facts.identity, record.identity) === false;
  }

  /** Asks PostgreSQL and the queue now: a job has found another database. */
  lookAnew(): Promise<void> {
    this.lookedOn = -Infinity;
    return this.look();
  }

  private look(): Promise<void> {
    this.looking = this.looking.then(() => this.lookOnce()).catch((error: unknown) => this.warn(error));
    return this.looking;
  }

  /**
   * The database that a job must find. Of a queue that has none recorded, it becomes the one that this worker is
   * connected to.
   * @throws Failure REPOSITORY_ELSEWHERE, DATABASE_*, QUEUE_UNAVAILABLE, or the signal's reason
   */
  async admit(report: ReportProgress, signal: AbortSignal): Promise<Admission> {
    let record = await this.registry.identity();
    if (record === undefined) {
      const { identity } = await examineRepository({ repository: this.repository, report, signal });
      await this.registry.recordFirst(identity);
      record = await this.registry.identity();
    }
    if (record !== undefined && record !== 'forged') return record;
    throw new Failure('REPOSITORY_ELSEWHERE', 'permanent', FORGED);
  }

  /** Takes this worker off the list. */
  async stop(): Promise<void> {
    this.stopped.abort(new Error('The worker stops'));
    const leaving = this.looking.then(() => this.registry.remove(this.id)).catch(() => undefined);
    await Promise.race([leaving, sleep(LEAVE_WITHIN_MS, undefined, { ref: false })]);
  }

  private async goOn(): Promise<void> {
    const { signal } = this.stopped;
    while (!signal.aborted) {
      await sleep(BEAT_EVERY_MS, undefined, { ref: false, signal }).catch(() => undefined);
      if (!signal.aborted) await this.look();
    }
  }

  private async lookOnce(): Promise<void> {
    if (this.stopped.signal.aborted) return;
    const old = performance.now() - this.lookedOn > LOOK_AGAIN_AFTER_MS;
    if (this.facts === undefined || this.trouble !== undefined || this.elsewhere || old)
      await this.askPostgres();
    const recorded = await this.registry.identity();
    // A record that was lost is for the workers of its database to make anew.
    if (recorded !== undefined || !this.elsewhere) this.record = recorded;
    if (this.record === undefined && this.facts !== undefined && this.trouble === undefined) {
      await this.registry.recordFirst(this.facts.identity);
      this.record = await this.registry.identity();
    }
    const remarks = this.remarks();
    this.tell(remarks);
    await this.onChange(!this.elsewhere);
    await this.registry.beat({
      id: this.id,
      beat: ++this.beats,
      at: Date.now(),
      host: hostname(),
      version: PRODUCT.version,
      role: this.facts?.rights.role ?? null,
      superuser: this.facts?.rights.superuser ?? null,
      identity: this.facts?.identity ?? null,
      takesJobs: !this.elsewhere,
      warnings: remarks,
      since: this.since,
    });
  }

  private async askPostgres(): Promise<void> {
    const late = new Failure('DATABASE_UNREACHABLE', 'transient', 'PostgreSQL does not answer.');
    const inTime = new AbortController();
    const timer = setTimeout(() => inTime.abort(late), LOOK_WITHIN_MS);
    try {
      this.facts = await examineRepository({
        repository: { ...this.repository, retryForMs: 0 },
        signal: AbortSignal.any([inTime.signal, this.stopped.signal]),
      });
      this.lookedOn = performance.now();
      this.trouble = undefined;
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      this.trouble = error;
    } finally {
      clearTimeout(timer);
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

  /** Logs what is to be known of this worker, once. */
  private tell(remarks: WorkerRemark[]): void {
    const said = JSON.stringify(remarks);
    if (said === this.told) return;
    this.told = said;
    for (const { kind, level, message } of remarks)
      this.logger[level === 'warning' ? 'warn' : 'info']({ kind }, message);
  }

  private warn(error: unknown): void {
    if (!this.stopped.signal.aborted)
      this.logger.warn({ reason: errorSentence(error) }, 'The heartbeat could not be written');
  }
}

const FORGED =
  'Takes no jobs: which database this queue is for was not recorded with this SECRET_KEY. Set the same SECRET_KEY everywhere, or accept the database again.';

function otherDatabase(here: DatabaseIdentity, recorded: DatabaseIdentity): string {
  return `Takes no jobs: REPOSITORY_URL leads to ${displayDatabase(here)}, and the queue is for ${displayDatabase(recorded)}. Correct REPOSITORY_URL, or accept this database if the repository has moved there.`;
}
