import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Job, JobsOptions, JobType } from 'bullmq';
import type { Settings } from '#config';
import { errorSentence, Failure } from '#common';
import { type DaemonState, type DaemonStatus, type DaemonType } from '#contracts';
import type { Keys } from '#keys';
import type { Logger } from '#logging';
import { checkedJob, foreignStatus, notAuthentic, signedData } from './authentic-jobs.js';
import type { ArchiveRequest, DaemonJob, DaemonJobData, DaemonJobQueue } from './daemon-job.js';
import { daemonStatus } from './daemon-status.js';
import { deduplication, expectSame, undecided } from './idempotency.js';
import { forgetEnded } from './forget-ended.js';
import { answered, undefinedIfUnreadable } from './queue-unavailable.js';
import { tryToWrite } from './write-check.js';

const DAY_MS = 24 * 60 * 60 * 1000;

/**
 * How many finished daemons are remembered: BullMQ looks whenever one ends in the same way. For how long is not left to
 * it, because it would ask the clock of that worker: see {@link DaemonQueue.forget}.
 */
function jobOptions(count: number): JobsOptions {
  return {
    // Transient errors only: what is permanent fails at once.
    attempts: 3,
    backoff: { type: 'exponential', delay: 2_000 },
    removeOnComplete: { count },
    removeOnFail: { count },
    stackTraceLimit: 3,
  };
}

/** How long a worker waits for the API to confirm a daemon: longer than the API waits for the queue. */
const CONFIRMED_WITHIN_MS = 10_000;
const LOOK_EVERY_MS = 20;

/** For how long a mark means the daemon that was started for it. */
const MARKED_MS = 30 * DAY_MS;

/** How long another call may take to confirm what it has added: milliseconds. */
const CONFIRMED_SOON_MS = 2_000;
/** When a worker has taken what nobody confirms, its failure is waited for: milliseconds. */
const DECIDED_WITHIN_MS = CONFIRMED_WITHIN_MS + 2_000;

/** Daemons that are fetched at once. */
const AT_ONCE = 100;

/** Most that ask for those that have ended know of all but one or two. */
const ENDED_AT_ONCE = 10;

/** Where the queue may have the daemons of each status. */
const STATES_OF: Record<DaemonState, readonly JobType[]> = {
  STARTED: ['waiting', 'delayed', 'active'],
  IN_PROGRESS: ['waiting', 'delayed', 'active'],
  COMPLETED: ['completed'],
  // One that was told to end before it began waits for a worker to pass it.
  FAILED: ['waiting', 'delayed', 'active', 'failed'],
};
const ALL_STATES: readonly JobType[] = [...STATES_OF.FAILED, ...STATES_OF.COMPLETED];

/** Which daemons are listed. */
export interface DaemonFilter {
  type?: DaemonType | undefined;
  status?: DaemonState | undefined;
  limit: number;
  offset: number;
}

/**
 * In this order none slips through that moves on meanwhile, from waiting to active or from active back: it is met in
 * one place or in the other.
 */
const READER_STATES = ['active', 'delayed', 'waiting', 'active'] as const;

/**
 * The API's side of the queue: starts daemons and tells how far they are. Others may write to the queue: it believes
 * only what an API or a worker has signed.
 */
export class DaemonQueue {
  private readonly jobOptions: JobsOptions;
  /** Settles when no list is chosen any more. */
  private lastChoice = Promise.resolve();

  constructor(
    readonly queue: DaemonJobQueue,
    readonly keys: Keys,
    private readonly history: Settings['daemonHistory'],
    private readonly logger: Logger,
  ) {
    this.jobOptions = jobOptions(history.count);
    // BullMQ tells of a broken connection here; each request that meets it fails with its own error too.
    queue.on('error', (error) => logger.warn({ reason: error.message }, 'The queue has an error'));
  }

  /**
   * A queue that does not answer may yet have taken the daemon, or take it when it comes back, though its client was
   * told that nothing was started. So it is signed once the queue has answered, and without that no worker runs it.
   * @throws QueueUnavailable: nothing is started
   */
  async start(type: DaemonType, startedBy: string, archive?: ArchiveRequest): Promise<DaemonStatus> {
    const data = jobData(startedBy, archive);
    const adding = this.queue.add(type, { ...data, unconfirmed: true }, this.jobOptions);
    const job = asDaemonJob(await answered(adding, ' Nothing was started.'));
    try {
      await job.updateData(signedData(this.keys, job, data));
    } catch (error) {
      // The client has its daemon now, and sees what becomes of it.
      this.logger.warn({ daemon: job.id, reason: errorSentence(error) }, 'A daemon could not be confirmed');
    }
    return daemonStatus(job);
  }

  /**
   * Starts at most one daemon of a mark, however many callers ask for it. Safe to call again after a lost reply.
   * @param mark what it is started for; remembered for 30 days
   * @throws QueueUnavailable, Failure IDEMPOTENCY_KEY_BUSY: whether it is started is not known; ask again
   */
  startMarked(
    mark: string,
    type: DaemonType,
    startedBy: string,
    archive?: ArchiveRequest,
  ): Promise<DaemonStatus> {
    return this.startUnlessMarked({ id: mark, ttl: MARKED_MS }, type, startedBy, archive);
  }

  /**
   * The status of a daemon that was started once. A queue that was lost counts its ids from 1 again: only the
   * mark tells that this is the same daemon.
   * @returns undefined when the queue does not know it, or not any more. @throws QueueUnavailable
   */
  async statusOfMarked(id: string, mark: string): Promise<DaemonStatus | undefined> {
    const job = await this.find(id);
    return job?.data.mark === mark && isConfirmed(job) ? this.statusOf(job) : undefined;
  }

  /** The status of a daemon that an API has signed, and none of any other. @throws QueueUnavailable */
  async authenticStatus(id: string): Promise<DaemonStatus | undefined> {
    const job = await this.find(id);
    return job !== undefined && isConfirmed(job) ? this.statusOf(job) : undefined;
  }

  /**
   * Starts a daemon unless one was started with this key already, by anybody's call for this account: then that one's
   * status is given. When a call with a key fails, another one with it finds out: the two never start two.
   * @param key the client's Idempotency-Key
   * @throws QueueUnavailable; Failure IDEMPOTENCY_KEY_REUSED, IDEMPOTENCY_KEY_BUSY
   */
  startOnce(
    key: string,
    type: DaemonType,
    startedBy: string,
    archive?: ArchiveRequest,
  ): Promise<DaemonStatus> {
    return this.startUnlessMarked(deduplication(key, startedBy), type, startedBy, archive);
  }

  private async startUnlessMarked(
    deduplication: { id: string; ttl: number },
    type: DaemonType,
    startedBy: string,
    archive: ArchiveRequest | undefined,
  ): Promise<DaemonStatus> {
    const { id: mark } = deduplication;
    for (const deadline = Date.now() + DECIDED_WITHIN_MS; Date.now() < deadline;) {
      const data = { ...jobData(startedBy, archive), mark };
      const options = { ...this.jobOptions, deduplication };
      const adding = this.queue.add(type, { ...data, unconfirmed: true }, options);
      // Its id is the earlier one's where the queue took none: BullMQ tells no other way.
      const added = await answered(adding, ' Nothing was started.');
      const job = await this.find(added.id ?? '');
      if (job?.data.nonce === data.nonce) {
        // Only the call that added it signs it: what others would write may undo a termination, and everybody who may write
        // to the queue would have their own signed.
        const signing = job.updateData(signedData(this.keys, job, data));
        await answered(signing, ' Ask again with the same Idempotency-Key.');
        return daemonStatus(job);
      }
      const earlier = job?.data.mark === mark ? await this.decided(job, deadline) : undefined;
      if (earlier !== undefined) {
        expectSame(earlier, type, data);
        return this.statusOf(earlier);
      }
      // It is free again, unless it stands for a newer one by now.
      await answered(added.removeDeduplicationKey());
    }
    throw undecided();
  }

  /**
   * Waits until it is known what has become of a daemon that another call added. One that this call will not confirm
   * any more is removed, so that the key is free: should it try after all, it finds no daemon, and says so.
   * @returns undefined when there is none, so that one can be started
   */
  private async decided(job: DaemonJob, deadline: number): Promise<DaemonJob | undefined> {
    const givenUp = Date.now() + CONFIRMED_SOON_MS;
    for (let now: DaemonJob | undefined = job; Date.now() < deadline; now = await this.find(job.id ?? '')) {
      if (now === undefined || isConfirmed(now)) return now;
      if (now.finishedOn !== undefined) return undefined;
      // What a worker has taken fails by itself, when that has waited in vain. Others may be first to remove the rest:
      // the next look shows what is there then, or that the queue is away.
      if (Date.now() > givenUp && (await answered(now.getState())) !== 'active')
        await now.remove().catch(() => undefined);
      await sleep(LOOK_EVERY_MS);
    }
    throw undecided();
  }

  /**
   * Waits until a daemon is confirmed that a worker has taken.
   * @throws Failure NOT_CONFIRMED, NOT_AUTHENTIC; QueueUnavailable
   */
  async confirmed(taken: Job): Promise<DaemonJob> {
    const isNoted = typeof taken.progress === 'object';
    let now = checkedJob(this.keys, taken);
    for (const deadline = Date.now() + CONFIRMED_WITHIN_MS; now !== undefined && !isConfirmed(now);) {
      if (Date.now() > deadline)
        throw new Failure(
          'NOT_CONFIRMED',
          'permanent',
          'Nothing was done: the queue went away when this was asked for, and it could not be confirmed. Start it again.',
        );
      await sleep(LOOK_EVERY_MS);
      now = await this.find(taken.id ?? '');
    }
    // Notes that were forged are not to be followed, and with none what earlier attempts have done would be done again.
    if (now === undefined || (isNoted && typeof now.progress !== 'object')) throw notAuthentic();
    return now;
  }

  /** @returns undefined when there is no such daemon. @throws QueueUnavailable */
  async status(id: string): Promise<DaemonStatus | undefined> {
    const found = await this.fetch(id);
    const job = found && checkedJob(this.keys, found);
    return job === undefined ? found && foreignStatus(found) : this.statusOf(job);
  }

  /** The status of a job as it was fetched. @throws QueueUnavailable */
  async statusOf(job: DaemonJob): Promise<DaemonStatus> {
    // An attempt has begun: a worker says how it ends, also if somebody asked for an end in between.
    if (
      job.data.terminatedOn === undefined ||
      job.finishedOn !== undefined ||
      typeof job.progress === 'object'
    )
      return daemonStatus(job);
    // Told to end before it was seen to begin. While a worker has it, that worker will say; if none has, none will run
    // it. What was said of that once stays so when a worker comes by to see it: no two clocks are compared.
    if (job.data.neverRuns === true) return daemonStatus(job);
    const state = await answered(job.getState());
    if (state === 'completed' || state === 'failed')
      return daemonStatus((await this.find(job.id ?? '')) ?? job);
    if (state !== 'active') await this.update(job, { neverRuns: true });
    return daemonStatus(job);
  }

  /** @returns the job as it is now; undefined when there is none that is authentic. @throws QueueUnavailable */
  async find(id: string): Promise<DaemonJob | undefined> {
    const job = await this.fetch(id);
    return job && checkedJob(this.keys, job);
  }

  private async fetch(id: string): Promise<Job | undefined> {
    const job = await answered(this.queue.getJob(id).catch(undefinedIfUnreadable));
    return job?.id === id ? job : undefined;
  }

  /** Writes data of a job that was checked: what nobody has signed stays so. */
  private async update(job: DaemonJob, change: Partial<DaemonJobData>): Promise<void> {
    const data = { ...job.data, ...change };
    await answered(job.updateData(isConfirmed(job) ? signedData(this.keys, job, data) : data));
  }

  /**
   * Tells a daemon to end. What a worker has taken, it stops; what waits never starts, whenever a worker comes.
   * One that has ended already stays as it is.
   * @returns false when there is no such daemon. @throws QueueUnavailable
   */
  async terminate(id: string): Promise<boolean> {
    const job = await this.find(id);
    // No worker runs what is not authentic.
    if (job === undefined) return (await this.status(id)) !== undefined;
    if (job.finishedOn === undefined && job.data.terminatedOn === undefined)
      await this.update(job, { terminatedOn: Date.now() });
    return true;
  }

  /** Whether a daemon was told to end. @throws QueueUnavailable */
  async isTerminated(id: string): Promise<boolean> {
    return (await this.find(id))?.data.terminatedOn !== undefined;
  }

  /**
   * The daemons that an archive must stay for: those that wait to read it, those that will try again, and those that
   * read it now.
   * @param key the archive's in the bucket
   * @returns their ids. @throws QueueUnavailable
   */
  async readersOf(key: string): Promise<string[]> {
    const ids = new Set<string>();
    for (const state of READER_STATES)
      for await (const job of this.jobsOf(await this.idsOf([state]))) {
        const neverRuns = job.data.terminatedOn !== undefined && state !== 'active';
        if (job.data.archive?.key === key && !neverRuns) ids.add(job.id ?? '');
      }
    return [...ids];
  }

  /**
   * The authentic daemons that have ended since a time, by their workers' clocks, in no order; one that ends meanwhile
   * may be missing, and one may come twice.
   * @param since milliseconds since 1970. @throws QueueUnavailable
   */
  async *endedSince(since: number): AsyncGenerator<{ endedOn: number; status: DaemonStatus }> {
    for (const state of ['completed', 'failed'] as const)
      for (let start = 0, isLast = false; !isLast; start += ENDED_AT_ONCE) {
        // The last to end come first.
        const ids = await answered(this.queue.getRanges([state], start, start + ENDED_AT_ONCE - 1));
        isLast = ids.length < ENDED_AT_ONCE;
        for await (const job of this.jobsOf(ids)) {
          const { finishedOn: endedOn = 0 } = job;
          if (endedOn < since) isLast = true;
          else if (isConfirmed(job)) yield { endedOn, status: daemonStatus(job) };
        }
      }
  }

  /**
   * The daemons that are remembered, newest first: those of a type, and those whose status is the given one now. A list
   * that is chosen from looks at all of them, in small steps, and no two such lists are made at once.
   * @throws QueueUnavailable
   */
  async list({
    type,
    status,
    limit,
    offset,
  }: DaemonFilter): Promise<{ daemons: DaemonStatus[]; total: number }> {
    const ids = await this.idsOf(status === undefined ? ALL_STATES : STATES_OF[status]);
    if (type === undefined && (status === undefined || status === 'COMPLETED')) {
      const page = await Promise.all(ids.slice(offset, offset + limit).map((id) => this.status(id)));
      return { daemons: page.filter((daemon) => daemon !== undefined), total: ids.length };
    }
    const choosing = this.lastChoice.then(async () => {
      const daemons: DaemonStatus[] = [];
      let total = 0;
      for await (const daemon of this.statusesOf(ids)) {
        if (type !== undefined && daemon.type !== type) continue;
        if (status !== undefined && daemon.status !== status) continue;
        if (total >= offset && daemons.length < limit) daemons.push(daemon);
        total++;
      }
      return { daemons, total };
    });
    this.lastChoice = choosing.then(
      () => undefined,
      () => undefined, // The caller hears of it.
    );
    return choosing;
  }

  /** The ids of the daemons in some of the queue's states, newest first. */
  private async idsOf(states: readonly JobType[]): Promise<string[]> {
    const ids = await answered(this.queue.getRanges([...states], 0, -1));
    // Whatever else the queue knows has no number.
    return ids.filter((id) => /^\d+$/.test(id)).sort((one, other) => Number(other) - Number(one));
  }

  /** Fetches daemons, some at a time: BullMQ asks for each of them by itself, and the queue must answer in time. */
  private jobsOf(ids: string[]): AsyncGenerator<DaemonJob> {
    return someAtOnce(ids, (id) => this.find(id));
  }

  private statusesOf(ids: string[]): AsyncGenerator<DaemonStatus> {
    return someAtOnce(ids, (id) => this.status(id));
  }

  /**
   * Forgets daemons that ended longer ago than the history goes.
   * @param now by the database's clock. @throws QueueUnavailable
   */
  forget(now: number): Promise<void> {
    return forgetEnded(this.queue, now - this.history.days * DAY_MS);
  }

  /** Whether a daemon could be started now. @throws QueueUnavailable */
  async check(): Promise<void> {
    await answered(tryToWrite(this.queue));
  }
}

async function* someAtOnce<Found>(
  ids: string[],
  find: (id: string) => Promise<Found | undefined>,
): AsyncGenerator<Found> {
  for (let start = 0; start < ids.length; start += AT_ONCE) {
    const found = await Promise.all(ids.slice(start, start + AT_ONCE).map(find));
    yield* found.filter((one) => one !== undefined);
  }
}

function jobData(startedBy: string, archive: ArchiveRequest | undefined): DaemonJobData {
  const data = { startedBy, startedOn: Date.now(), nonce: randomUUID() };
  return { ...data, ...(archive !== undefined && { archive }) };
}

/** Whether its API has signed it. */
function isConfirmed({ data }: DaemonJob): boolean {
  return data.unconfirmed !== true;
}

/** BullMQ's Queue has no type parameter for what its jobs' progress is. */
function asDaemonJob(job: Job): DaemonJob {
  return job as DaemonJob;
}
