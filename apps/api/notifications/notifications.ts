import { createHash, createHmac } from 'node:crypto';
import {
  type BeforeApplicationShutdown,
  Inject,
  Injectable,
  type OnApplicationBootstrap,
} from '@nestjs/common';
import { SETTINGS, type Secret, type Settings } from '#config';
import { Failure, hasEnded } from '#common';
import type { DaemonStatus } from '#contracts';
import { DaemonReader, type Notification, NotificationQueue, type ScheduledRun } from '#queue';
import { request } from './http-request.js';

/** Spread over about a day. */
const WEBHOOK_TRIES = 10;

/** Spread over about 20 minutes: yesterday's sign of life must not count as today's. */
const DEADMAN_TRIES = 7;

/** Notifies webhooks of ended jobs, and the dead man's switch of successful runs, through the queue. */
@Injectable()
export class Notifications implements OnApplicationBootstrap, BeforeApplicationShutdown {
  private readonly webhooks: ReadonlyMap<string, Secret>;
  private readonly deadman: ReadonlyMap<string, Secret>;

  constructor(
    @Inject(SETTINGS) private readonly settings: Settings,
    private readonly daemons: DaemonReader,
    // Missing if the settings name no address.
    @Inject(NotificationQueue) private readonly queue: NotificationQueue | undefined,
  ) {
    const { webhooks, deadman } = settings.notifications;
    this.webhooks = named(webhooks);
    this.deadman = named(deadman === undefined ? [] : [deadman]);
  }

  /** The names of the webhooks. */
  get webhookNames(): string[] {
    return [...this.webhooks.keys()];
  }

  onApplicationBootstrap(): void {
    this.queue?.work((notification) => this.deliver(notification));
  }

  async beforeApplicationShutdown(): Promise<void> {
    await this.queue?.close();
  }

  /** Queues the notification of an ended job, once. @throws QueueUnavailable */
  async daemonEnded(webhook: string, daemon: DaemonStatus): Promise<void> {
    const notification = { id: deliveryId(daemon, webhook), address: webhook, daemon: daemon.id };
    await this.queue?.add(notification, WEBHOOK_TRIES);
  }

  /** Queues the sign of life of a successful run, once. @throws QueueUnavailable */
  async runSucceeded({ schedule, dueOn }: ScheduledRun): Promise<void> {
    for (const address of this.deadman.keys())
      await this.queue?.add({ id: `${schedule}-${dueOn}-${address}`, address }, DEADMAN_TRIES);
  }

  private async deliver({ id, address, daemon }: Notification): Promise<void> {
    const deadman = this.deadman.get(address);
    if (deadman !== undefined && daemon === undefined) return request(deadman, { method: 'GET' });
    const webhook = this.webhooks.get(address);
    const { secret } = this.settings.notifications;
    if (webhook === undefined || secret === undefined || daemon === undefined)
      throw new Failure('DELIVERY_FAILED', 'transient', 'Its address is no longer in the settings.');
    const ended = await this.daemons.authenticStatus(daemon);
    if (ended === undefined || !hasEnded(ended) || deliveryId(ended, address) !== id)
      throw new Failure(
        'DELIVERY_FAILED',
        'transient',
        `The queue does not contain the end of job ${daemon}.`,
      );
    const event = ended.status === 'COMPLETED' ? 'daemon.completed' : 'daemon.failed';
    // Receivers do not need the stack, which reveals internals. It can be read with the job's id.
    const body = JSON.stringify({ event, daemon: { ...ended, errorDetails: undefined } });
    await request(webhook, {
      method: 'POST',
      headers: {
        'Content-Type': 'application/json',
        'snapshotd-event': event,
        'snapshotd-delivery': id,
        'snapshotd-signature': signature(secret, body),
      },
      body,
    });
  }
}

/** Includes the time, because a queue that has lost its data counts its jobs from 1 again. */
function deliveryId({ id, startedOn }: DaemonStatus, webhook: string): string {
  return `${id}-${startedOn}-${webhook}`;
}

/** Names addresses by their hashes, because others may read the queue. */
function named(addresses: Secret[]): Map<string, Secret> {
  const nameOf = (address: Secret) =>
    createHash('sha256').update(address.reveal()).digest('hex').slice(0, 16);
  return new Map(addresses.map((address) => [nameOf(address), address]));
}

/** Proves the origin and the age of a request. docs/monitoring.md tells receivers how to check it. */
function signature(secret: Secret, body: string): string {
  const time = Math.floor(Date.now() / 1_000);
  const mac = createHmac('sha256', secret.reveal()).update(`${time}.${body}`).digest('hex');
  return `t=${time},v1=${mac}`;
}
