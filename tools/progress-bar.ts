import type { DaemonStatus } from '#contracts';

const WIDTH = 30;

/** Draws a daemon's progress: a bar that moves on a terminal, a line for each news elsewhere. */
export class ProgressBar {
  private last = '';

  constructor(private readonly out: NodeJS.WriteStream) {}

  draw({ progresssMessage, progresssCurrent, progresssTotal, status }: DaemonStatus): void {
    const share = status === 'COMPLETED' ? 1 : progresssTotal === 0 ? 0 : progresssCurrent / progresssTotal;
    const full = Math.round(share * WIDTH);
    const percent = `${Math.floor(share * 100)}%`.padStart(4);
    const line = `${percent} ${progresssCurrent}/${progresssTotal} ${progresssMessage}`;
    if (this.out.isTTY) this.out.write(`\r\x1b[K[${'#'.repeat(full)}${'-'.repeat(WIDTH - full)}]${line}`);
    else if (line !== this.last) this.out.write(`${line.trimStart()}\n`);
    this.last = line;
  }

  end(): void {
    if (this.out.isTTY) this.out.write('\n');
  }
}
