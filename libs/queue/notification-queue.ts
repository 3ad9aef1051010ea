import { setTimeout as sleep } from 'node:timers/promises';
import { type Job, Queue, QueueEvents, type QueueOptions, UnrecoverableError, Worker } from 'bullmq';
import { z } from 'zod';
import type { Secret } from '#config';
import { errorSentence } from '#common';
import type { Keys } from '#keys';
import type { Logger } from '#logging';
import { queueConnection } from './connection.js';
import { DAEMON_QUEUE } from './daemon-job.js';
import { forgetEnded } from './forget-ended.js';
import { answered } from './queue-unavailable.js';

/** The queue of requests to those who are to be told. */
export const NOTIFICATION_QUEUE = 'notifications';

/** One request. It holds no secrets: its address is in the settings, and goes by a name here. */
export interface Notification {
  /** Who is told of what: of one id there is one request, however often it is added. */
  id: string;
  /** The name of the address. */
  address: string;
  /** The id of the daemon that has ended: what is said of it is read when the request is made. */
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

/** Longer than all its tries together. A sign of life that somebody adds again later, as it was, is none. */
const ALIVE_FOR_MS = 60 * 60_000;

/** Makes the request. @throws when it is to be tried again */
export type Deliver = (notification: Notification) => Promise<void>;

type NotificationJobQueue = Queue<NotificationData, void>;

/** Ids are known for so long after their end: longer than anybody looks back to see what is to be told. */
const KEPT_MS = 2 * 24 * 60 * 60 * 1000;

/** Four times longer after each try: 1 s, 4 s, 16 s, and with the tenth try a day has passed. */
const FIRST_PAUSE_MS = 1_000;
const FACTOR = 4;

/** One address that answers slowly must not keep the others waiting. */
const REQUESTS_AT_ONCE = 16;

/** A killed process's requests are taken over after about the sum of the first two. */
const TAKEOVER = { lockDuration: 15_000, stalledInterval: 5_000, maxStalledCount: 2 ** 31 - 1 };

const CLOSED_WITHIN_MS = 2_000;

/** Requests that are made once each, by whichever API takes them, and tried again when they fail. */
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
   * Has a request made, unless it was added before.
   * @param tries with ten, it is tried for about a day. @throws QueueUnavailable
   */
  async add({ id, ...what }: Notification, tries: number): Promise<void> {
    const facts = { ...what, addedOn: Date.now() };
    const data = { ...facts, code: this.keys.sign('notification', { id, data: facts }) };
    const options = { jobId: id, attempts: tries, backoff: { type: 'fourfold' } };
    await answered(this.queue.add('request', data, options));
  }

  /** Forgets requests that ended long ago. @param now by the database's clock. @throws QueueUnavailable */
  forget(now: number): Promise<void> {
    return forgetEnded(this.queue, now - KEPT_MS);
  }

  /** Takes part in the requests from now on. */
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
        givenUp ? 'A notification is given up' : 'A notification will be tried again',
      );
    });
  }

  /** Tells that a daemon has ended: soon, as a rule. While the queue is away nobody is told. */
  watchEnds(ended: () => void): void {
    this.events = new QueueEvents(DAEMON_QUEUE, this.working);
    this.events.on('error', (error) => this.warn(error));
    this.events.on('completed', ended);
    this.events.on('failed', ended);
  }

  /** Lets the requests that are being made come to their end, but not for long: others take them over. */
  async close(): Promise<void> {
    const late = sleep(CLOSED_WITHIN_MS, undefined, { ref: false });
    await Promise.race([Promise.all([this.worker?.close(), this.events?.close()]), late]);
    await Promise.race([this.queue.close(), late]);
  }

  /** @throws UnrecoverableError for a request that no API asked for, or not lately */
  private authentic({ id = '', data }: Job<unknown>): Notification {
    const parsed = notificationData.safeParse(data).data;
    const { code, ...facts } = parsed ?? {};
    if (parsed === undefined || !this.keys.verify('notification', { id, data: facts }, code))
      throw new UnrecoverableError(
        'This notification is not authentic: an older version of snapshotd, or somebody without SECRET_KEY, wrote it into the queue.',
      );
    const { address, daemon, addedOn } = parsed;
    if (daemon === undefined && Date.now() - addedOn > ALIVE_FOR_MS)
      throw new UnrecoverableError('This sign of life is too old to be delivered.');
    return { id, address, daemon };
  }

  private warn(error: Error): void {
    this.logger.warn({ reason: error.message }, 'The queue has an error');
  }
}
