import { once } from 'node:events';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';

export interface LoadTask {
  /** The API's. */
  url: string;
  sessionToken: string;
  perSecond: number;
}

export interface LoadReport {
  seconds: number;
  answered: number;
  failed: number;
}

/** Many who watch one daemon, in a thread of their own. */
export class StatusLoad {
  private constructor(private readonly thread: Worker) {}

  /** Resolves when it can begin to ask. */
  static async prepare(task: LoadTask): Promise<StatusLoad> {
    const thread = new Worker(join(__dirname, 'status-load-thread.js'), { workerData: task });
    await once(thread, 'online');
    return new StatusLoad(thread);
  }

  begin(daemonId: string): void {
    this.thread.postMessage(daemonId);
  }

  /** Waits for the answers on their way, and tells how it went. */
  async end(): Promise<LoadReport> {
    this.thread.postMessage('end');
    const [report] = (await once(this.thread, 'message')) as [LoadReport];
    return report;
  }

  /** To be called in any case. */
  async discard(): Promise<void> {
    await this.thread.terminate();
  }
}
