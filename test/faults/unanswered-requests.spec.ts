import type { DaemonStatus } from '#contracts';
import { ownQueues, type OwnServer } from '../support/own-server.js';
import { Proxy } from '../support/proxy.js';
import { Stack } from '../support/stack.js';
import { tried } from '../support/tried.js';

const TRIES = 3;

describe.each(ownQueues)('the %s queue', (title, startQueue) => {
  let queue: OwnServer;
  let proxy: Proxy;
  let stack: Stack;
  beforeAll(async () => {
    queue = await startQueue();
    proxy = await Proxy.to(queue.url);
    const url = new URL(queue.url);
    url.host = new URL(proxy.url).host;
    stack = await Stack.start({ env: { QUEUE_URL: url.href } });
  });
  afterAll(async () => {
    await stack.stop();
    await proxy.close();
    await queue.stop();
  });

  const ask = () => stack.call<DaemonStatus & { reason: string }>('POST', '/repo/v1/startBackupDaemon', {});

  test.each([
    ['stalls', () => proxy.stall(), () => proxy.resume()],
    ['loses its answer', () => (proxy.breakAfterBytes = 0), () => (proxy.breakAfterBytes = Infinity)],
  ])('that %s makes a 503 of what is asked for, and never carries it out', async (fault, begin, end) => {
    const first = Number((await ask()).body.id);
    const answered = new Set([first]);
    let slowest = 0;
    for (let i = 0; i < TRIES; i++) {
      await stack.finished(String([...answered].at(-1)));
      begin();
      const asked = performance.now();
      const { status, body } = await ask();
      slowest = Math.max(slowest, performance.now() - asked);
      expect({ status, reason: body.reason }).toEqual({
        status: 503,
        reason: 'The queue does not answer. Nothing was started. Try again in a moment.',
      });
      end();
      await stack.untilReady();
      const next = await ask();
      expect(next.status).toBe(201);
      answered.add(Number(next.body.id));
    }
    const last = [...answered].at(-1) ?? 0;
    await stack.finished(String(last));
    let late = 0;
    for (let id = first; id <= last; id++) {
      const { status, body } = await stack.call<DaemonStatus>('GET', `/repo/v1/daemonStatus/${id}`);
      if (answered.has(id)) expect(body).toMatchObject({ status: 'COMPLETED' });
      else if (status !== 404) {
        late++;
        // Its worker may have lost the queue with it. Then it fails when another takes it, after later jobs.
        expect(await stack.finished(String(id))).toMatchObject({
          status: 'FAILED',
          progresssTotal: 0,
          errorMessage: expect.stringMatching(/^Nothing was done: /),
        });
      }
    }
    expect(late).toBeGreaterThan(0);
    tried(
      `${title} queue ${fault} at a POST`,
      TRIES,
      `503 after ${Math.round(slowest)} ms at most; ${late} were in the queue nevertheless, none ran`,
    );
  });
});
