import { Redis } from 'ioredis';
import type { DaemonStatus } from '#contracts';
import { EventStream } from '../support/event-stream.js';
import { eventually } from '../support/eventually.js';
import { oneOf, queues, sql } from '../support/servers.js';
import { Stack } from '../support/stack.js';

interface DaemonList {
  daemons: DaemonStatus[];
  total: number;
}

/** Makes a job look as if its API had died before confirming it, in the queue's own store. */
async function takeConfirmationBack(stack: Stack, id: string): Promise<void> {
  const url = stack.env['QUEUE_URL'] ?? '';
  if (url.startsWith('redis')) {
    const redis = new Redis(url);
    const data = JSON.parse((await redis.hget(`snapshotd:daemons:${id}`, 'data')) ?? '') as object;
    await redis.hset(`snapshotd:daemons:${id}`, 'data', JSON.stringify({ ...data, unconfirmed: true }));
    redis.disconnect();
  } else
    await sql(
      url,
      `UPDATE snapshotd_queue.job SET data = data || '{"unconfirmed": true}' WHERE id = '${id}'`,
    );
}

/** Makes what the queue knows of keys older, by hand in the queue's own store. */
async function letPass(stack: Stack, milliseconds: number): Promise<void> {
  const url = stack.env['QUEUE_URL'] ?? '';
  if (url.startsWith('redis')) {
    const redis = new Redis(url);
    for (const key of await redis.keys('snapshotd:daemons:de:*'))
      await redis.pexpire(key, (await redis.pttl(key)) - milliseconds);
    redis.disconnect();
  } else await sql(url, `UPDATE snapshotd_queue.dedup SET expire_at_ms = expire_at_ms - ${milliseconds}`);
}

/** Listens to a waiting job with two sessions, one of which ends. The effects take a while. */
async function listen() {
  const stack = await Stack.start({ workers: 0 });
  const { id } = await stack.startBackup();
  const [kept, gone] = await Promise.all([EventStream.open(stack, id), EventStream.open(stack, id)]);
  gone.close();
  const ending = await EventStream.open(stack, id, await stack.login());
  await stack.call('DELETE', '/auth/v1/session', { sessionToken: stack.sessionToken });
  return { stack, kept, ending };
}

let listened: Awaited<ReturnType<typeof listen>>;
beforeAll(async () => {
  listened = await listen();
});

describe.each(oneOf(queues, 1))('on the %s queue', (_title, queueUrl) => {
  let stack: Stack;
  let replica: Stack;
  beforeAll(async () => {
    stack = await Stack.start({ queueUrl, workers: 0 });
    const { DATABASE_URL = '', QUEUE_URL = '' } = stack.env;
    replica = await Stack.start({ workers: 0, env: { DATABASE_URL, QUEUE_URL } });
  });
  afterAll(async () => {
    await replica.stop();
    await stack.stop();
  });

  const list = async (query: string) =>
    (await stack.call<DaemonList>('GET', `/repo/v1/daemons${query}`)).body;
  const idsOf = async (query: string) => {
    const { daemons, total } = await list(query);
    return { ids: daemons.map(({ id }) => id), total };
  };
  const start = (key: string, body: object = {}, type = 'Backup', at = stack) =>
    at.call<DaemonStatus & { reason: string }>('POST', `/repo/v1/start${type}Daemon`, body, {
      sessionToken: at.sessionToken,
      'Idempotency-Key': key,
    });

  test('the same key gives one job, on every API, at once or later', async () => {
    const answers = await Promise.all(
      [stack, replica, stack, replica, stack, replica].map((at) => start('one', {}, 'Backup', at)),
    );
    expect(answers.map(({ status, body }) => [status, body.id])).toEqual(answers.map(() => [201, '1']));
    expect(await start('one')).toMatchObject({ status: 201, body: { id: '1', status: 'STARTED' } });
    expect(await idsOf('')).toEqual({ ids: ['1'], total: 1 });
  });

  test('a key is for one call with one body', async () => {
    const reason = /^This Idempotency-Key has already started job 1, by another call or with another body\./;
    const refused = { status: 422, body: { reason: expect.stringMatching(reason) } };
    expect(await start('one', { url: 'a.zip' }, 'Verify')).toMatchObject(refused);
    const body = { url: 'a.zip', intoSchemas: { b: 'x', a: 'y' } };
    const { id } = (await start('two', body, 'Restore')).body;
    expect(await start('two', { ...body, intoSchemas: { a: 'y', b: 'x' } }, 'Restore')).toMatchObject({
      status: 201,
      body: { id },
    });
    expect((await start('two', { url: 'b.zip' }, 'Restore')).status).toBe(422);
  });

  test.each(['', 'a b', 'ä', 'x'.repeat(256)])('the key %j is refused', async (key) => {
    expect((await start(key)).status).toBe(400);
  });

  test('a call with the same key does not undo a termination', async () => {
    await stack.call('DELETE', '/repo/v1/terminateDaemon/1');
    expect(await start('one')).toMatchObject({ status: 201, body: { id: '1', status: 'FAILED' } });
    expect(await stack.status('1')).toMatchObject({ status: 'FAILED' });
  });

  test('a job whose call was never answered is replaced by another and never runs', async () => {
    const { id: lost } = (await start('lost')).body;
    await takeConfirmationBack(stack, lost);
    const answers = await Promise.all([start('lost'), start('lost', {}, 'Backup', replica)]);
    const [id] = answers.map(({ body }) => body.id);
    expect(id).not.toBe(lost);
    expect(answers.map(({ body }) => body.id)).toEqual([id, id]);
    expect((await stack.call('GET', `/repo/v1/daemonStatus/${lost}`)).status).toBe(404);
    await stack.call('DELETE', `/repo/v1/terminateDaemon/${id}`);
  });

  test('jobs are listed newest first, by type and status, in pages', async () => {
    const verify = await stack.call<DaemonStatus>('POST', '/repo/v1/startVerifyDaemon', { url: 'none.zip' });
    const { ids, total } = await idsOf('');
    expect(ids[0]).toBe(verify.body.id);
    expect(ids.map(Number)).toEqual(ids.map(Number).sort((one, other) => other - one));
    expect(total).toBe(ids.length);
    expect(await idsOf('?limit=1&offset=1')).toEqual({ ids: [ids[1]], total });
    expect(await idsOf(`?offset=${total}`)).toEqual({ ids: [], total });

    const terminated = await idsOf('?status=FAILED');
    expect(terminated.ids.at(-1)).toBe('1');
    expect(await idsOf('?status=FAILED&limit=1')).toEqual({ ids: terminated.ids.slice(0, 1), total: 2 });
    expect(await idsOf('?status=STARTED&type=VERIFY')).toEqual({ ids: [verify.body.id], total: 1 });
    expect(await idsOf('?status=COMPLETED')).toEqual({ ids: [], total: 0 });
    expect(await idsOf('?type=RESTORE')).toMatchObject({ total: 1 });
  });

  test.each([
    ['?limit=0', 'limit'],
    ['?limit=101', 'limit'],
    ['?limit=1&limit=2', 'limit'],
    ['?offset=-1', 'offset'],
    ['?type=BACKUPS', 'type'],
    ['?status=failed', 'status'],
    ['?colour=red', 'colour'],
  ])('%s is a 400 that names %s', async (query, name) => {
    const { status, body } = await stack.call('GET', `/repo/v1/daemons${query}`);
    expect({ status, reason: body.reason }).toEqual({ status: 400, reason: expect.stringContaining(name) });
  });

  test('events tell every listener each change until the end', async () => {
    const { id } = await stack.startBackup();
    const [one, other] = await Promise.all([EventStream.open(stack, id), EventStream.open(stack, id)]);
    expect(Object.fromEntries(one.response.headers)).toMatchObject({
      'content-type': 'text/event-stream',
      'cache-control': 'no-store, no-transform',
      'x-accel-buffering': 'no',
    });
    await eventually(() => one.statuses.length > 0);
    expect(one.statuses).toMatchObject([{ id, status: 'STARTED' }]);
    await stack.startWorker();
    for (const stream of [one, other]) {
      await stream.ended;
      expect(stream.statuses.at(-1)).toEqual(await stack.status(id));
      const told = stream.statuses.map((status) => JSON.stringify({ ...status, totalTimeMS: 0 }));
      expect(new Set(told).size).toBe(told.length);
    }
    const late = await EventStream.open(stack, id);
    await late.ended;
    expect(late.statuses).toMatchObject([{ id, status: 'COMPLETED' }]);
    expect(await idsOf('?status=COMPLETED')).toMatchObject({ ids: expect.arrayContaining([id]) });
    expect((await stack.call('GET', '/repo/v1/daemonStatus/999/events')).status).toBe(404);
    await stack.workers.pop()?.stop();
  });

  test('a key stands for its job for 24 hours', async () => {
    const idOf = async () => (await start('day')).body.id;
    const first = await idOf();
    await letPass(stack, (24 * 60 - 1) * 60_000);
    expect(await idOf()).toBe(first);
    await letPass(stack, 60_000);
    const second = await idOf();
    expect(second).not.toBe(first);
    expect(await idOf()).toBe(second);
  });
});

test('events are kept alive, and end with the session and with the API', async () => {
  await listened.ending.ended;
  // It did not have to wait for the first of them.
  expect(listened.ending.text).not.toContain(': keep-alive');
  await eventually(() => listened.kept.text.endsWith(': keep-alive\n\n'));
  await listened.stack.stop();
  await listened.kept.ended;
  expect(listened.kept.statuses).toMatchObject([{ status: 'STARTED' }]);
});
