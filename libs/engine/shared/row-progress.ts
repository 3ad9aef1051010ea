import { setTimeout as sleep } from 'node:timers/promises';
import { Failure, progressTotal } from '#common';
import type { ReportProgress } from '#contracts';
import type { Observer } from '#postgres';

const LOOK_EVERY_MS = 500;

/**
 * Turns what the server knows about the running COPY, and what the command tags said of the finished ones,
 * into a daemon's progress.
 */
export class RowProgress {
  private message = '';
  private rowsDone = 0;
  private rowsInside = 0;
  private silent = false;
  private rowsExpected = 0;

  /**
   * @param asksServer whether the rows of a running COPY are to be asked for; of one that is counted as it passes,
   * they are known
   */
  constructor(
    private readonly report: ReportProgress,
    private readonly asksServer = true,
  ) {}

  /** Says what is being done now. */
  say(message: string): void {
    this.message = message;
    this.tell(0);
  }

  expect(rows: number): void {
    this.rowsExpected = rows;
  }

  /** Tells how far the present entry is, for work that the server does not see. */
  inside(rows: number): void {
    this.rowsInside = rows;
    this.tell(0);
  }

  /** Counts what is finished: a COPY by its command tag, or an entry. */
  add(rows: number): void {
    this.rowsDone += rows;
    this.rowsInside = 0;
    this.tell(0);
  }

  /** All rows are there: from now on the total is exact. */
  allRows(message: string): void {
    this.rowsExpected = this.rowsDone;
    this.say(message);
  }

  /** Looks at a backend until the signal stops it: tells its rows and whom it waits for. */
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
        // The work needs nobody who looks at it. What ails the server, the work itself will meet.
        if (error instanceof Failure && error.persistence === 'transient') continue;
        throw error;
      }
      if (signal.aborted) return;
      // A COPY that ended meanwhile is counted already.
      if (this.rowsDone !== before) continue;
      if (waitsFor === undefined) this.tell(inFlight);
      else this.tell(inFlight, `Waiting for ${waitsFor}`);
    }
  }

  /** Says nothing while something else tells its own progress. */
  async silently<Result>(work: () => Promise<Result>): Promise<Result> {
    this.silent = true;
    try {
      return await work();
    } finally {
      this.silent = false;
    }
  }

  private tell(inFlight: number, message = this.message): void {
    if (this.silent) return;
    const current = this.rowsDone + this.rowsInside + inFlight;
    this.report({ message, current, total: progressTotal(Math.max(this.rowsExpected, current)) });
  }
}
