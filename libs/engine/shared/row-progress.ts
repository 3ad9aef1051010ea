import { setTimeout as sleep } from 'node:timers/promises';
import { Failure, progressTotal } from '#common';
import type { ReportProgress } from '#contracts';
import type { Observer } from '#postgres';

const LOOK_EVERY_MS = 500;

/**
 * Reports a job's progress: the rows of finished COPY statements by their command tags, and of the running one as the
 * server counts them.
 */
export class RowProgress {
  private message = '';
  private rowsDone = 0;
  private rowsInside = 0;
  private silent = false;
  private rowsExpected = 0;

  /**
   * @param asksServer whether to query the rows of a running COPY; false if the caller counts them
   */
  constructor(
    private readonly report: ReportProgress,
    private readonly asksServer = true,
  ) {}

  /** Reports the current step. */
  say(message: string): void {
    this.message = message;
    this.send(0);
  }

  expect(rows: number): void {
    this.rowsExpected = rows;
  }

  /** Reports the rows of the current entry, for work that the server does not see. */
  inside(rows: number): void {
    this.rowsInside = rows;
    this.send(0);
  }

  /** Counts the rows of a finished COPY or entry. */
  add(rows: number): void {
    this.rowsDone += rows;
    this.rowsInside = 0;
    this.send(0);
  }

  /** Reports a step after the last row: from now on the total is exact. */
  allRows(message: string): void {
    this.rowsExpected = this.rowsDone;
    this.say(message);
  }

  /** Reports the rows of a backend, and the sessions that it waits for, until the signal is aborted. */
  async watch(observer: Observer, pid: number, signal: AbortSignal): Promise<void> {
    for (;;) {
      await sleep(LOOK_EVERY_MS, undefined, { signal }).catch(() => undefined);
      if (signal.aborted) return;
      const before = this.rowsDone;
      let waitsFor: string | undefined;
      let inFlight: number;
      try {
        waitsFor = await observer.waitingFor(pid);
        inFlight = this.asksServer ? await observer.rowsInFlight(pid) : 0;
      } catch (error) {
        // Progress is not essential. A fault of the server also reaches the work itself.
        if (error instanceof Failure && error.persistence === 'transient') continue;
        throw error;
      }
      if (signal.aborted) return;
      // A COPY that ended meanwhile is already counted.
      if (this.rowsDone !== before) continue;
      if (waitsFor === undefined) this.send(inFlight);
      else this.send(inFlight, `Waiting for ${waitsFor}`);
    }
  }

  /** Reports nothing while the work reports its own progress. */
  async silently<Result>(work: () => Promise<Result>): Promise<Result> {
    this.silent = true;
    try {
      return await work();
    } finally {
      this.silent = false;
    }
  }

  private send(inFlight: number, message = this.message): void {
    if (this.silent) return;
    const current = this.rowsDone + this.rowsInside + inFlight;
    this.report({ message, current, total: progressTotal(Math.max(this.rowsExpected, current)) });
  }
}
