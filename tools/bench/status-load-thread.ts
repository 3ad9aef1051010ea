import { Agent, get } from 'node:http';
import { parentPort, workerData } from 'node:worker_threads';
import type { LoadReport, LoadTask } from './status-load.js';

const TICK_MS = 5;

/** Asks at a fixed rate, whether answers come or not, and reports when it is told to stop. */
function run(): void {
  const { url, sessionToken, perSecond } = workerData as LoadTask;
  const agent = new Agent({ keepAlive: true, maxSockets: 50 });
  const report: LoadReport = { seconds: 0, answered: 0, failed: 0 };

  const ask = (id: string) =>
    new Promise<void>((done) => {
      const request = get(
        `${url}/repo/v1/daemonStatus/${id}`,
        { agent, headers: { sessionToken } },
        (response) => {
          if (response.statusCode === 200) report.answered++;
          else report.failed++;
          response.resume().once('close', done);
        },
      );
      request.once('error', () => {
        report.failed++;
        done();
      });
    });

  parentPort?.once('message', (id: string) => {
    const began = performance.now();
    const pending = new Set<Promise<void>>();
    let asked = 0;
    const timer = setInterval(() => {
      const due = Math.floor(((performance.now() - began) / 1000) * perSecond);
      for (; asked < due; asked++) {
        const asking: Promise<void> = ask(id).finally(() => pending.delete(asking));
        pending.add(asking);
      }
    }, TICK_MS);
    parentPort?.once('message', () => {
      clearInterval(timer);
      report.seconds = (performance.now() - began) / 1000;
      const { answered } = report;
      // Those on their way may still fail, but come too late to count.
      void Promise.all(pending).then(() => {
        agent.destroy();
        parentPort?.postMessage({ ...report, answered } satisfies LoadReport);
      });
    });
  });
}

run();
