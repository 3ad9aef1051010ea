import type { DaemonStatus } from '#contracts';
import { EventStream } from '../support/event-stream.js';
import { ownQueues, type OwnServer } from '../support/own-server.js';
import { Stack } from '../support/stack.js';

const COUNT = 3;

describe.each(ownQueues)('a separate %s queue', (_title, startQueue, atOnce) => {
  let queue: OwnServer;
  let stack: Stack;
  let ids: string[];
  let events: EventStream;
  beforeAll(async () => {
    queue = await startQueue();
    stack = await Stack.start({ workers: 0, env: { QUEUE_URL: queue.url } });
  });
  afterAll(async () => {
    await stack.stop();
    await queue.stop();
  });
  const statuses = () => Promise.all(ids.map((id) => stack.status(id)));

  test('that is killed makes every request a 503 with a reason, and forgets no job and no listener', async () => {
    ids = [];
    for (let i = 0; i < COUNT; i++) ids.push((await stack.startBackup()).id);
    const before = await statuses();
    expect(before.map(({ status }) => status)).toEqual(ids.map(() => 'STARTED'));
    events = await EventStream.open(stack, ids[0] ?? '');
    await queue.end(atOnce);
    const away = { status: 503, body: { reason: 'The queue does not answer. Try again in a moment.' } };
    const asked = Date.now();
    expect(await stack.call('POST', '/repo/v1/startBackupDaemon', {})).toMatchObject({
      status: 503,
      body: { reason: 'The queue does not answer. Nothing was started. Try again in a moment.' },
    });
    expect(await stack.call('GET', '/repo/v1/daemonStatus/1')).toMatchObject(away);
    expect(await stack.call('DELETE', '/repo/v1/terminateDaemon/1')).toMatchObject(away);
    expect(Date.now() - asked).toBeLessThan(3 * 2_000);
    expect(await stack.call('GET', '/health/ready')).toMatchObject({
      status: 503,
      body: { status: 'down', database: 'up', queue: 'down' },
    });
    const metrics = await stack.call<string>('GET', '/metrics');
    expect(metrics.status).toBe(200);
    expect(metrics.body).toMatch(/^snapshotd_queue_up 0$/m);
    expect(metrics.body).toMatch(/^snapshotd_database_up 1$/m);
    expect(metrics.body).not.toMatch(/^snapshotd_(daemon|queue_waiting)/m);
    await queue.startAgain();
    await stack.untilReady();
    expect((await stack.call<string>('GET', '/metrics')).body).toMatch(/^snapshotd_queue_up 1$/m);
    expect(await statuses()).toEqual(before);
  });

  test('runs exactly its jobs after all that', async () => {
    await stack.startWorker();
    await events.ended;
    expect(events.statuses.at(-1)).toMatchObject({ id: ids[0], status: 'COMPLETED' });
    for (const id of ids) expect(await stack.finished(id)).toMatchObject({ status: 'COMPLETED' });
    const { id } = await stack.startBackup();
    // A sequence of PostgreSQL may leave numbers out after a crash.
    for (let other = COUNT + 1; other < Number(id); other++)
      expect(await stack.call('GET', `/repo/v1/daemonStatus/${other}`)).toMatchObject({ status: 404 });
    ids.push(id);
    expect(await stack.finished(id)).toMatchObject({ status: 'COMPLETED' });
  });

  test('keeps all statuses when the API is killed and started again', async () => {
    const failed = await stack.call<DaemonStatus>('POST', '/repo/v1/startRestoreDaemon', { url: 'none.zip' });
    ids.push(failed.body.id);
    expect(await stack.finished(failed.body.id)).toMatchObject({ status: 'FAILED' });
    await stack.workers[0]?.stop();
    const { body: waiting } = await stack.call<DaemonStatus>('POST', '/repo/v1/startBackupDaemon', {});
    ids.push(waiting.id);
    await stack.watch(waiting.id, ({ progresssMessage }) =>
      progresssMessage.startsWith('Waiting: no worker'),
    );
    const before = await statuses();
    await stack.restartApi('SIGKILL');
    expect(await statuses()).toEqual(before);
  });
});
