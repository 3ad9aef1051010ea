import { PassThrough } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { Inject, Injectable, type OnModuleDestroy } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { errorSentence, hasEnded } from '#common';
import type { DaemonStatus } from '#contracts';
import { LOGGER, type Logger } from '#logging';
import { DaemonReader } from '#queue';
import { Callers } from '../auth/callers.js';
import { mayStill } from '../auth/guard.js';
import { shownTo } from './daemons.js';
import { WaitingJobs } from './waiting-jobs.js';

const LOOK_EVERY_MS = 500;
/** Proxies close idle connections. */
const KEEP_ALIVE_MS = 15_000;
/** How often the rights of a listener are checked. */
const MAY_LISTEN_EVERY_MS = 1_000;

/** One client that listens. */
class Listener {
  readonly stream = new PassThrough();
  private sent = '';

  constructor(readonly request: FastifyRequest) {}

  /** Sends a status that differs from the last one. A slow client skips statuses. */
  tell(told: DaemonStatus): void {
    const status = shownTo(this.request, told);
    // The elapsed time always differs.
    const content = JSON.stringify({ ...status, totalTimeMS: 0 });
    const ended = hasEnded(status);
    if (!this.stream.writable || (content !== this.sent && !ended && this.stream.writableNeedDrain)) return;
    if (content !== this.sent) this.stream.write(`event: status\ndata: ${JSON.stringify(status)}\n\n`);
    this.sent = content;
    if (ended) this.stream.end();
  }

  keepAlive(): void {
    if (this.stream.writable && !this.stream.writableNeedDrain) this.stream.write(': keep-alive\n\n');
  }
}

/** Sends statuses as server-sent events. All listeners of a job share one reader of the queue. */
@Injectable()
export class StatusStreams implements OnModuleDestroy {
  private readonly listeners = new Map<string, Set<Listener>>();

  private stopping = false;

  constructor(
    private readonly daemons: DaemonReader,
    private readonly waiting: WaitingJobs,
    private readonly callers: Callers,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  /**
   * Answers with the present status and all later ones. Ends with the job, when the client disconnects, and when its
   * rights end.
   */
  send(request: FastifyRequest, reply: FastifyReply, first: DaemonStatus): void {
    const listener = new Listener(request);
    this.open(first, listener);
    // A client may disconnect while nothing is sent to it.
    reply.raw.once('close', () => listener.stream.destroy());
    void reply
      .header('Content-Type', 'text/event-stream')
      .header('Cache-Control', 'no-store, no-transform')
      .header('X-Accel-Buffering', 'no')
      .send(listener.stream);
  }

  private open(first: DaemonStatus, listener: Listener): void {
    const { id } = first;
    listener.tell(first);
    if (hasEnded(first)) return;
    if (this.stopping) return void listener.stream.end();
    const others = this.listeners.get(id);
    const all = others ?? new Set();
    all.add(listener);
    if (others === undefined) {
      this.listeners.set(id, all);
      void this.watch(id, all);
    }
    void this.endWhenForbidden(listener);
    const timer = setInterval(() => listener.keepAlive(), KEEP_ALIVE_MS);
    listener.stream.on('close', () => {
      clearInterval(timer);
      all.delete(listener);
    });
  }

  /** Ends the streams, because open connections would keep the API running. */
  onModuleDestroy(): void {
    this.stopping = true;
    for (const listener of [...this.listeners.values()].flatMap((all) => [...all])) listener.stream.end();
  }

  /** Reads the status as long as there are listeners, also across an outage of the queue. */
  private async watch(id: string, all: Set<Listener>): Promise<void> {
    let away = false;
    while (all.size > 0) {
      await sleep(LOOK_EVERY_MS, undefined, { ref: false });
      try {
        const found = await this.daemons.status(id);
        const status = found && (await this.waiting.explained(found));
        away = false;
        for (const listener of all)
          if (status === undefined) listener.stream.end();
          else listener.tell(status);
        // New listeners get another reader: these have received the end.
        if (status === undefined || hasEnded(status)) break;
      } catch (error) {
        if (!away)
          this.logger.warn({ daemon: id, reason: errorSentence(error) }, 'Status events wait for the queue');
        away = true;
      }
    }
    this.listeners.delete(id);
  }

  /** Ends a stream when the rights of its listener end. While they cannot be checked, it goes on. */
  private async endWhenForbidden({ stream, request }: Listener): Promise<void> {
    let unknown = false;
    while (stream.writable) {
      await sleep(MAY_LISTEN_EVERY_MS, undefined, { ref: false });
      if (!stream.writable) return;
      try {
        if (!(await mayStill(request, this.callers))) stream.end();
        unknown = false;
      } catch (error) {
        if (!unknown)
          this.logger.warn({ reason: errorSentence(error) }, 'Cannot check the rights of a listener');
        unknown = true;
      }
    }
  }
}
