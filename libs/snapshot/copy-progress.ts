import { setTimeout as sleep } from 'node:timers/promises';
import { progressTotal, type ReportProgress } from '#contracts';
import type { Observer } from '#postgres';

const LOOK_EVERY_MS = 500;

/**
 * Turns what the server knows about the running COPY, and what the command tags said of the finished ones,
 * into a daemon's progress.
 */
export class CopyProgress {
  private message = '';
  private rowsDone = 0;
  private rowsExpected = 0;
  private readonly end = new AbortController();

  constructor(private readonly report: ReportProgress) {}

  /** Says what is being done now. */
  say(message: string): void {
    this.message = message;
    this.tell(0);
  }

  expect(rows: number): void {
    this.rowsExpected = rows;
  }

  /** Counts a finished COPY by its command tag. */
  add(rows: number): void {
    this.rowsDone += rows;
    this.tell(0);
  }

  /** All rows are there: from now on the total is exact. */
  allCopied(message: string): void {
    this.rowsExpected = this.rowsDone;
    this.end.abort();
    this.say(message);
  }

  /** Looks at a backend until `allCopied`, or until the signal stops it: tells its rows and whom it waits for. */
  async watch(observer: Observer, pid: number, signal: AbortSignal): Promise<void> {
    const stop = AbortSignal.any([signal, this.end.signal]);
    while (!stop.aborted) {
      await sleep(LOOK_EVERY_MS, undefined, { signal: stop }).catch(() => undefined);
      if (stop.aborted) return;
      const waitsFor = await observer.waitingFor(pid);
      const inFlight = await observer.rowsInFlight([pid]);
      if (stop.aborted) return;
      if (waitsFor === undefined) this.tell(inFlight);
      else this.tell(inFlight, `Waiting for ${waitsFor}`);
    }
  }

  private tell(inFlight: number, message = this.message): void {
    const current = this.rowsDone + inFlight;
    this.report({ message, current, total: progressTotal(Math.max(this.rowsExpected, current)) });
  }
}
