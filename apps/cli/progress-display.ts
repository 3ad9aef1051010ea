import { Meter } from './meter.js';
import { progressBar, type Progressing, progressText } from './progress-line.js';

const DRAW_EVERY_MS = 500;
const LINE_EVERY_MS = 10_000;

/** Shows how something gets on: a bar that moves at a terminal, a line now and then elsewhere. */
export class ProgressDisplay {
  private readonly meter = new Meter();
  private readonly timer: NodeJS.Timeout;
  private progress: Progressing | undefined;
  private lastLineAt = -Infinity;

  /** @param format what is counted, and its rate, in words */
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

  /** Says something that stays, above the bar. */
  say(text: string): void {
    this.out.write(this.out.isTTY ? `\r\x1b[K${text}\n` : `${text}\n`);
    if (this.out.isTTY) this.draw();
  }

  /** Draws what it came to, and no more. */
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
      this.out.write(`${progressText(this.progress, pace, this.format).trimStart()}\n`);
      this.lastLineAt = now;
    }
  }
}
