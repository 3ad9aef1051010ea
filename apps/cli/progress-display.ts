import { Failure } from '#common';
import { Meter } from './meter.js';
import { progressBar, type Progressing, progressText } from './progress-line.js';

const DRAW_EVERY_MS = 500;
const LINE_EVERY_MS = 10_000;

/** Shows progress: a moving bar on a terminal, a line every 10 seconds elsewhere. */
export class ProgressDisplay {
  private readonly meter = new Meter();
  private readonly timer: NodeJS.Timeout;
  private progress: Progressing | undefined;
  private lastLine: string | undefined;
  private lastLineAt = -Infinity;

  /** @param format formats an amount and a rate */
  constructor(
    private readonly out: NodeJS.WriteStream,
    private readonly format: (amount: number) => string,
  ) {
    this.timer = setInterval(() => this.draw(), DRAW_EVERY_MS);
  }

  update(progress: Progressing): void {
    const first = this.progress === undefined;
    this.progress = progress;
    if (first) this.draw();
  }

  /** Prints a line above the bar. */
  say(text: string): void {
    this.out.write(this.out.isTTY ? `\r\x1b[K${text}\n` : `${text}\n`);
    if (this.out.isTTY) this.draw();
  }

  /** Draws the last state and stops. */
  end(): void {
    clearInterval(this.timer);
    if (this.progress === undefined) return;
    this.lastLineAt = -Infinity;
    this.draw();
    if (this.out.isTTY) this.out.write('\n');
  }

  private draw(): void {
    if (this.progress === undefined) return;
    const now = performance.now();
    this.meter.add(this.progress.done, now);
    const pace = { rate: this.meter.rate, left: this.meter.left(this.progress.total) };
    if (this.out.isTTY)
      this.out.write(`\r${progressBar(this.progress, pace, this.format, this.out.columns || 80)}\x1b[K`);
    else if (now - this.lastLineAt >= LINE_EVERY_MS) {
      const line = progressText(this.progress, pace, this.format).trimStart();
      if (line !== this.lastLine) this.out.write(`${line}\n`);
      this.lastLine = line;
      this.lastLineAt = now;
    }
  }
}

/**
 * Runs work under a progress display until it ends or a signal of the process interrupts it.
 * @throws Failure INTERRUPTED with this message; what the work throws
 */
export async function showingProgress<Result>(
  format: (amount: number) => string,
  interruption: { signals: NodeJS.Signals[]; message: string },
  work: (display: ProgressDisplay, signal: AbortSignal) => Promise<Result>,
): Promise<Result> {
  const display = new ProgressDisplay(process.stderr, format);
  const interrupted = new AbortController();
  const interrupt = () => interrupted.abort(new Failure('INTERRUPTED', 'permanent', interruption.message));
  for (const signal of interruption.signals) process.once(signal, interrupt);
  try {
    return await work(display, interrupted.signal);
  } catch (error) {
    // The interrupted work may have said more.
    if (!(error instanceof Failure && error.code === 'INTERRUPTED')) interrupted.signal.throwIfAborted();
    throw error;
  } finally {
    for (const signal of interruption.signals) process.off(signal, interrupt);
    display.end();
  }
}
