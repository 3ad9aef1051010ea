import { PassThrough, type Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { Inject, Injectable, type OnModuleDestroy } from '@nestjs/common';
import { errorSentence, hasEnded } from '#common';
import type { DaemonStatus } from '#contracts';
import { LOGGER, type Logger } from '#logging';
import { DaemonReader } from '#queue';

const LOOK_EVERY_MS = 500;
/** Proxies end connections that are silent. */
const KEEP_ALIVE_MS = 15_000;
/** A listener whose rights ended hears nothing after this time. */
const MAY_LISTEN_EVERY_MS = 1_000;

/** Who listens. */
interface Audience {
  /** Asked every second; while it fails, it goes on. */
  mayListen: () => Promise<boolean>;
  /** Gives of a status what they may see. */
  show: (status: DaemonStatus) => DaemonStatus;
}

/** One client that listens. */
class Listener {
  readonly stream = new PassThrough();
  private sent = '';

  constructor(private readonly show: Audience['show']) {}

  /** Tells of a status that differs from the last one. A client that does not take it in time gets a later one. */
  tell(told: DaemonStatus): void {
    const status = this.show(told);
    // The time that has passed changes always, and tells nothing.
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

/** Statuses as server-sent events. However many listen to a daemon, the queue is asked for it once. */
@Injectable()
export class StatusStreams implements OnModuleDestroy {
  private readonly listeners = new Map<string, Set<Listener>>();

  private stopping = false;

  constructor(
    private readonly daemons: DaemonReader,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  /**
   * Begins with the status as it is. Ends after a terminal one, when the client goes, and when it may not listen any more.
   * @param first the daemon's status just now
   */
  open(first: DaemonStatus, { mayListen, show }: Audience): Readable {
    const { id } = first;
    const listener = new Listener(show);
    listener.tell(first);
    if (hasEnded(first)) return listener.stream;
    if (this.stopping) return listener.stream.end();
    const others = this.listeners.get(id);
    const all = others ?? new Set();
    all.add(listener);
    if (others === undefined) {
      this.listeners.set(id, all);
      void this.watch(id, all);
    }
    void this.endWhenForbidden(listener, mayListen);
    const timer = setInterval(() => listener.keepAlive(), KEEP_ALIVE_MS);
    listener.stream.on('close', () => {
      clearInterval(timer);
      all.delete(listener);
    });
    return listener.stream;
  }

  /** Connections that stay open would keep the API from ending. */
  onModuleDestroy(): void {
    this.stopping = true;
    for (const listener of [...this.listeners.values()].flatMap((all) => [...all])) listener.stream.end();
  }

  /** Reads the status as long as somebody listens. A queue that is away is waited for. */
  private async watch(id: string, all: Set<Listener>): Promise<void> {
    let away = false;
    while (all.size > 0) {
      await sleep(LOOK_EVERY_MS, undefined, { ref: false });
      try {
        const status = await this.daemons.status(id);
        away = false;
        for (const listener of all)
          if (status === undefined) listener.stream.end();
          else listener.tell(status);
        // Who comes now is told by another reader: these have been told the end.
        if (status === undefined || hasEnded(status)) break;
      } catch (error) {
        if (!away)
          this.logger.warn({ daemon: id, reason: errorSentence(error) }, 'Events wait for the queue');
        away = true;
      }
    }
    this.listeners.delete(id);
  }

  /** Asks anew only when the answer is there: a database that is slow is not asked more. */
  private async endWhenForbidden({ stream }: Listener, mayListen: () => Promise<boolean>): Promise<void> {
    let unknown = false;
    while (stream.writable) {
      await sleep(MAY_LISTEN_EVERY_MS, undefined, { ref: false });
      if (!stream.writable) return;
      try {
        if (!(await mayListen())) stream.end();
        unknown = false;
      } catch (error) {
        if (!unknown)
          this.logger.warn(
            { reason: errorSentence(error) },
            'Cannot see whether a listener may still listen',
          );
        unknown = true;
      }
    }
  }
}
