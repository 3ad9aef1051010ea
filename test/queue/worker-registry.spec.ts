import { randomBytes } from 'node:crypto';
import { Queue } from 'bullmq';
import { Secret } from '#config';
import { Keys } from '#keys';
import { createLogger } from '#logging';
import { newDatabase, queues } from '../support/servers.js';
import { queueConnection } from '../../libs/queue/connection.js';
import type { WorkerJobQueue } from '../../libs/queue/signed-records.js';
import { type Beat, WorkerRegistry } from '../../libs/queue/worker-registry.js';

const OLD = new Secret('01'.repeat(32));
const NEW = new Secret('02'.repeat(32));
const here = { systemIdentifier: '7580012345678901234', databaseOid: 16384, databaseName: 'shop' };
const there = { ...here, systemIdentifier: '7580012345678901235' };
const beat: Beat = {
  id: 'one',
  beat: 1,
  at: 1,
  host: 'host',
  version: '1',
  node: '24.15.0',
  pgDump: { version: '18.3', source: 'bundled' },
  jobs: ['7'],
  concurrency: 2,
  repositories: null,
  target: null,
  role: 'worker',
  superuser: false,
  identity: here,
  takesJobs: true,
  warnings: [],
  since: 1,
};

describe.each(queues)('on the %s queue', (_title, queueUrl) => {
  let queue: WorkerJobQueue;
  let registry: WorkerRegistry;

  beforeEach(async () => {
    const url = new Secret(queueUrl ?? (await newDatabase()));
    const connection = await queueConnection(url, 'worker', createLogger('test', 'silent'));
    queue = new Queue(`workers-${randomBytes(4).toString('hex')}`, connection);
    registry = new WorkerRegistry(queue, new Keys([OLD]));
  });
  afterEach(() => queue.close());

  test('one of several workers records its database, and an administrator changes it', async () => {
    await Promise.all([here, there, there].map((database) => registry.recordFirst(database)));
    const first = await registry.identity();
    if (first === undefined || first === 'forged') throw new Error('Nothing was recorded');
    expect(first).toMatchObject({ predecessors: [] });
    await registry.recordFirst({ ...here, databaseOid: 1 });
    expect(await registry.identity()).toEqual(first);

    const moved = await registry.accept({ ...here, databaseOid: 2 }, true);
    expect(await registry.identity()).toEqual(moved);
    expect(moved.predecessors).toEqual([first.identity]);
    // Moving back is a move too, and no database is its own predecessor.
    const back = await registry.accept(first.identity, true);
    expect(back.predecessors).toEqual([{ ...here, databaseOid: 2 }]);
    // Another repository has no predecessors.
    expect(await registry.accept({ ...here, databaseOid: 3 }, false)).toMatchObject({ predecessors: [] });
  });

  test('records and heartbeats without a code by SECRET_KEY do not count', async () => {
    const stranger = new WorkerRegistry(queue, new Keys([NEW]));
    await stranger.recordFirst(there);
    expect(await registry.identity()).toBe('forged');
    expect(await registry.accept(here, true)).toMatchObject({ identity: here, predecessors: [] });

    await stranger.beat(beat);
    expect(await registry.beats()).toEqual([]);
    await registry.beat(beat);
    expect(await registry.beats()).toEqual([beat]);
    const job = await queue.getJob('worker-one');
    if (job === undefined) throw new Error('There is no heartbeat');
    // A copy under another id, and a code used for the other kind of record.
    await queue.add('beat', job.data, { jobId: 'worker-two' });
    await (await queue.getJob('repository-identity'))?.updateData(job.data);
    expect(await registry.beats()).toEqual([beat]);
    expect(await registry.identity()).toBe('forged');
    // Data of any shape.
    for (const data of [null, 7, 'x', [], { code: {} }] as unknown[])
      await queue.add('beat', data as never, {
        jobId: `worker-${JSON.stringify(data).length}${typeof data}`,
      });
    expect(await registry.beats()).toEqual([beat]);
    await registry.remove('one');
    expect(await registry.beats()).toEqual([]);
  });

  test('a worker with both keys renews the record of an earlier key', async () => {
    await registry.recordFirst(here);
    const after = new WorkerRegistry(queue, new Keys([NEW]));
    expect(await after.identity()).toBe('forged');
    const both = new WorkerRegistry(queue, new Keys([NEW, OLD]));
    await both.renewIdentity();
    expect(await after.identity()).toMatchObject({ identity: here });
    expect(await registry.identity()).toBe('forged');
  });
});
