import { once } from 'node:events';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';

export interface LoadTask {
  /** The API's URL. */
  url: string;
  sessionToken: string;
  perSecond: number;
}

export interface LoadReport {
  seconds: number;
  answered: number;
  failed: number;
}

/** Many clients that poll the status of one job, in a separate thread. */
export class StatusLoad {
  private constructor(private readonly thread: Worker) {}

  /** Starts the thread. */
  static async prepare(task: LoadTask): Promise<StatusLoad> {
    const thread = new Worker(join(__dirname, 'status-load-thread.js'), { workerData: task });
    await once(thread, 'online');
    return new StatusLoad(thread);
  }

  begin(jobId: string): void {
    this.thread.postMessage(jobId);
  }

  /** Stops polling, waits for the pending answers, and gives the report. */
  async end(): Promise<LoadReport> {
    this.thread.postMessage('end');
    const [report] = (await once(this.thread, 'message')) as [LoadReport];
    return report;
  }

  /** Ends the thread. Call it in any case. */
  async discard(): Promise<void> {
    await this.thread.terminate();
  }
}
