import { createHash } from 'node:crypto';
import {
  type BeforeApplicationShutdown,
  Inject,
  Injectable,
  type OnApplicationBootstrap,
} from '@nestjs/common';
import type { Secret, Settings } from '#config';
import { Failure, hasEnded } from '#common';
import type { DaemonStatus } from '#contracts';
import { DaemonReader, type Notification, NotificationQueue, type ScheduledRun } from '#queue';
import { SETTINGS } from '../settings.js';
import { request } from './http-request.js';
import { signature } from './signature.js';

/** Over about a day. */
const WEBHOOK_TRIES = 10;

/** Within about 20 minutes: a sign of life of yesterday must not count as today's. */
const DEADMAN_TRIES = 7;

/** Tells others what has ended: each request is in the queue before anybody relies on it. */
@Injectable()
export class Notifications implements OnApplicationBootstrap, BeforeApplicationShutdown {
  private readonly webhooks: ReadonlyMap<string, Secret>;
  private readonly deadman: ReadonlyMap<string, Secret>;

  constructor(
    @Inject(SETTINGS) private readonly settings: Settings,
    private readonly daemons: DaemonReader,
    // Missing where the settings name nobody who is to be told.
    @Inject(NotificationQueue) private readonly queue: NotificationQueue | undefined,
  ) {
    const { webhooks, deadman } = settings.notifications;
    this.webhooks = named(webhooks);
    this.deadman = named(deadman === undefined ? [] : [deadman]);
  }

  /** The addresses that are told of each daemon's end, by their names. */
  get webhookNames(): string[] {
    return [...this.webhooks.keys()];
  }

  onApplicationBootstrap(): void {
    this.queue?.work((notification) => this.deliver(notification));
  }

  async beforeApplicationShutdown(): Promise<void> {
    await this.queue?.close();
  }

  /** A daemon is COMPLETED or FAILED. Calling it again changes nothing. @throws QueueUnavailable */
  async daemonEnded(webhook: string, daemon: DaemonStatus): Promise<void> {
    const notification = { id: deliveryId(daemon, webhook), address: webhook, daemon: daemon.id };
    await this.queue?.add(notification, WEBHOOK_TRIES);
  }

  /** A run's backup is there, and verified if it is to be. Calling it again changes nothing. @throws QueueUnavailable */
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
      throw new Failure('DELIVERY_FAILED', 'transient', 'Its address is not in the settings any more.');
    const ended = await this.daemons.authenticStatus(daemon);
    if (ended === undefined || !hasEnded(ended) || deliveryId(ended, address) !== id)
      throw new Failure('DELIVERY_FAILED', 'transient', `The queue does not hold the end of job ${daemon}.`);
    const event = ended.status === 'COMPLETED' ? 'daemon.completed' : 'daemon.failed';
    // A stack tells of our insides, and is at hand with the daemon's id.
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

/** A queue that was lost counts its daemons from 1 again. */
function deliveryId({ id, startedOn }: DaemonStatus, webhook: string): string {
  return `${id}-${startedOn}-${webhook}`;
}

/** What is kept of an address where others may read it. */
function named(addresses: Secret[]): Map<string, Secret> {
  const nameOf = (address: Secret) =>
    createHash('sha256').update(address.reveal()).digest('hex').slice(0, 16);
  return new Map(addresses.map((address) => [nameOf(address), address]));
}
