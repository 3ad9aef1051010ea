import { setTimeout as sleep } from 'node:timers/promises';
import { type Job, Queue, QueueEvents, type QueueOptions, UnrecoverableError, Worker } from 'bullmq';
import { z } from 'zod';
import type { Secret } from '#config';
import { errorSentence } from '#common';
import type { Keys } from '#keys';
import type { Logger } from '#logging';
import { queueConnection, TAKEOVER } from './connection.js';
import { DAEMON_QUEUE } from './daemon-job.js';
import { forgetEnded } from './job-batches.js';
import { answered } from './queue-unavailable.js';

/** The queue of webhook and dead-man requests. */
export const NOTIFICATION_QUEUE = 'notifications';

/** One request. It holds no secrets: it names an address of the settings. */
export interface Notification {
  /** Names the receiver and the occasion. A request is made once per id. */
  id: string;
  /** The name of the address. */
  address: string;
  /** The id of the job that has ended. Its status is read when the request is made. */
  daemon?: string | undefined;
}

const notificationData = z.strictObject({
  address: z.string(),
  daemon: z.string().optional(),
  /** Milliseconds since 1970. */
  addedOn: z.int(),
  /** Proves that an API wrote all of this, for this id. */
  code: z.string(),
});
type NotificationData = z.infer<typeof notificationData>;

/** Longer than all retries of a dead-man request. Older requests are refused, so that nobody can replay one. */
const ALIVE_FOR_MS = 60 * 60_000;

/** Makes the request. @throws to have it retried */
export type Deliver = (notification: Notification) => Promise<void>;

type NotificationJobQueue = Queue<NotificationData, void>;

/** How long ids are remembered after their end: longer than APIs look back for jobs to report. */
const KEPT_MS = 2 * 24 * 60 * 60 * 1000;

/** The pause grows fourfold with each try: 1 s, 4 s, 16 s. The tenth try comes after a day. */
const FIRST_PAUSE_MS = 1_000;
const FACTOR = 4;

/** Several, so that an address that answers slowly does not delay the others. */
const REQUESTS_AT_ONCE = 16;

const CLOSED_WITHIN_MS = 2_000;

/** Has each request made once, by any of the APIs, and retried if it fails. */
export class NotificationQueue {
  private worker: Worker<NotificationData, void> | undefined;
  private events: QueueEvents | undefined;

  private constructor(
    readonly queue: NotificationJobQueue,
    private readonly working: QueueOptions,
    private readonly keys: Keys,
    private readonly logger: Logger,
  ) {}

  /** Waits until the queue answers. */
  static async open(url: Secret, keys: Keys, logger: Logger): Promise<NotificationQueue> {
    const asking = await queueConnection(url, 'producer', logger);
    const working = await queueConnection(url, 'worker', logger);
    const queue: NotificationJobQueue = new Queue(NOTIFICATION_QUEUE, asking);
    queue.on('error', (error) => logger.warn({ reason: error.message }, 'The queue has an error'));
    await queue.waitUntilReady();
    return new NotificationQueue(queue, working, keys, logger);
  }

  /**
   * Adds a request, unless one with this id was added before.
   * @param tries ten take about a day. @throws QueueUnavailable
   */
  async add({ id, ...what }: Notification, tries: number): Promise<void> {
    const facts = { ...what, addedOn: Date.now() };
    const data = { ...facts, code: this.keys.sign('notification', { id, data: facts }) };
    const options = { jobId: id, attempts: tries, backoff: { type: 'fourfold' } };
    await answered(this.queue.add('request', data, options));
  }

  /** Forgets requests that ended two days ago. @param now by the database's clock. @throws QueueUnavailable */
  forget(now: number): Promise<void> {
    return forgetEnded(this.queue, now - KEPT_MS);
  }

  /** Starts making requests. */
  work(deliver: Deliver): void {
    const pause = (tries: number) => FIRST_PAUSE_MS * FACTOR ** (tries - 1);
    const options = { ...this.working, ...TAKEOVER, concurrency: REQUESTS_AT_ONCE };
    this.worker = new Worker<NotificationData, void>(
      NOTIFICATION_QUEUE,
      async (job) => deliver(this.authentic(job)),
      { ...options, settings: { backoffStrategy: pause } },
    );
    this.worker.on('error', (error) => this.warn(error));
    this.worker.on('failed', (job, error) => {
      const givenUp = job?.finishedOn !== undefined;
      this.logger[givenUp ? 'error' : 'warn'](
        { notification: job?.id, tries: job?.attemptsMade, reason: errorSentence(error) },
        givenUp ? 'Notification failed' : 'Notification failed and will be retried',
      );
    });
  }

  /** Calls `ended` soon after a job has ended, but not while the queue is unavailable. */
  watchEnds(ended: () => void): void {
    this.events = new QueueEvents(DAEMON_QUEUE, this.working);
    this.events.on('error', (error) => this.warn(error));
    this.events.on('completed', ended);
    this.events.on('failed', ended);
  }

  /** Waits at most two seconds for running requests. Other APIs take the rest over. */
  async close(): Promise<void> {
    const late = sleep(CLOSED_WITHIN_MS, undefined, { ref: false });
    await Promise.race([Promise.all([this.worker?.close(), this.events?.close()]), late]);
    await Promise.race([this.queue.close(), late]);
  }

  /** @throws UnrecoverableError for a request that no API has signed, or that is too old */
  private authentic({ id = '', data }: Job<unknown>): Notification {
    const parsed = notificationData.safeParse(data).data;
    const { code, ...facts } = parsed ?? {};
    if (parsed === undefined || !this.keys.verify('notification', { id, data: facts }, code))
      throw new UnrecoverableError(
        'This notification is not authentic: an older version of snapshotd, or somebody without SECRET_KEY, wrote it into the queue.',
      );
    const { address, daemon, addedOn } = parsed;
    if (daemon === undefined && Date.now() - addedOn > ALIVE_FOR_MS)
      throw new UnrecoverableError(
        'This request is too old: DEADMAN_URL is called within an hour or not at all.',
      );
    return { id, address, daemon };
  }

  private warn(error: Error): void {
    this.logger.warn({ reason: error.message }, 'The queue has an error');
  }
}
