import { connect, type Socket } from 'node:net';
import { parentPort, workerData } from 'node:worker_threads';
import type { LoadReport, LoadTask } from './status-load.js';

const TICK_MS = 5;
const CONNECTIONS = 50;

/**
 * One keep-alive connection that sends one request at a time and parses as little of the answer as possible: it shares
 * the processors with the measured backup, and Node's HTTP client takes longer than the API.
 */
class Asker {
  private answer = '';
  private settle: ((status: number) => void) | undefined;

  private constructor(
    private readonly socket: Socket,
    private readonly request: string,
  ) {
    socket.setNoDelay(true).setEncoding('latin1');
    socket.on('data', (text: string) => this.take(text));
    socket.on('error', () => this.end(0));
    socket.on('close', () => this.end(0));
  }

  static to({ url, sessionToken }: LoadTask, jobId: string): Asker {
    const { hostname, port, host } = new URL(url);
    const path = `/repo/v1/daemonStatus/${jobId}`;
    const request = `GET ${path} HTTP/1.1\r\nHost: ${host}\r\nsessionToken: ${sessionToken}\r\n\r\n`;
    return new Asker(connect(Number(port), hostname), request);
  }

  get isFree(): boolean {
    return this.settle === undefined && !this.socket.destroyed;
  }

  /** Sends the request. @returns the answer's status; 0 if the connection broke */
  ask(): Promise<number> {
    this.socket.write(this.request);
    return new Promise((resolve) => (this.settle = resolve));
  }

  close(): void {
    this.socket.destroy();
  }

  private take(text: string): void {
    this.answer += text;
    const body = this.answer.indexOf('\r\n\r\n') + 4;
    if (body < 4) return;
    const length = Number(/\r\ncontent-length: (\d+)/i.exec(this.answer)?.[1]);
    if (this.answer.length < body + length) return;
    const status = Number(this.answer.slice('HTTP/1.1 '.length, 'HTTP/1.1 200'.length));
    this.answer = '';
    this.end(status);
  }

  private end(status: number): void {
    this.settle?.(status);
    this.settle = undefined;
  }
}

/** Sends requests at a fixed rate while connections are free, and reports at the end. */
function run(): void {
  const task = workerData as LoadTask;
  const report: LoadReport = { seconds: 0, answered: 0, failed: 0 };

  parentPort?.once('message', (id: string) => {
    const askers = Array.from({ length: CONNECTIONS }, () => Asker.to(task, id));
    const began = performance.now();
    const pending = new Set<Promise<void>>();
    let asked = 0;
    const timer = setInterval(() => {
      const due = Math.floor(((performance.now() - began) / 1000) * task.perSecond);
      for (; asked < due; asked++) {
        const free = askers.find(({ isFree }) => isFree);
        if (free === undefined) break;
        const asking: Promise<void> = free.ask().then((status) => {
          if (status === 200) report.answered++;
          else report.failed++;
          pending.delete(asking);
        });
        pending.add(asking);
      }
    }, TICK_MS);
    parentPort?.once('message', () => {
      clearInterval(timer);
      report.seconds = (performance.now() - began) / 1000;
      const { answered } = report;
      // Pending requests may still fail, but do not count as answered.
      void Promise.all(pending).then(() => {
        for (const asker of askers) asker.close();
        parentPort?.postMessage({ ...report, answered } satisfies LoadReport);
      });
    });
  });
}

run();
