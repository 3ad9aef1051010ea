import { randomBytes } from 'node:crypto';
import { Queue } from 'bullmq';
import { Secret } from '#config';
import { Keys } from '#keys';
import { createLogger } from '#logging';
import { queueConnection } from '../../libs/queue/connection.js';
import { KeptDatabases, type KeptRecord } from '../../libs/queue/kept-databases.js';
import type { WorkerJobQueue } from '../../libs/queue/signed-records.js';
import { WorkerRegistry } from '../../libs/queue/worker-registry.js';
import { newDatabase, queues } from '../support/servers.js';

const OLD = new Secret('01'.repeat(32));
const NEW = new Secret('02'.repeat(32));
const here = { systemIdentifier: '7580012345678901234', databaseOid: 16384, databaseName: 'shop' };
const record = (name: string, keptOn: number): KeptRecord => ({
  ...{
    name,
    of: 'shop',
    repository: 'default',
    startedBy: '',
    oid: 16384,
    owner: 'owner',
    mark: 'mark',
    daemon: '7',
    keptOn,
  },
});

describe.each(queues)('on the %s queue', (_title, queueUrl) => {
  let queue: WorkerJobQueue;
  const at = (...keys: Secret[]) => new KeptDatabases(queue, new Keys(keys));

  beforeEach(async () => {
    const url = new Secret(queueUrl ?? (await newDatabase()));
    const connection = await queueConnection(url, 'worker', createLogger('test', 'silent'));
    queue = new Queue(`workers-${randomBytes(4).toString('hex')}`, connection);
  });
  afterEach(() => queue.close());

  test('kept databases are listed until they are removed, and only by installations with the key', async () => {
    const kept = at(OLD);
    await kept.add(record('shop:before "1"', 1));
    await kept.add(record('店_before_2', 2));
    expect((await kept.list()).map(({ name }) => name)).toEqual(['店_before_2', 'shop:before "1"']);
    expect(await kept.find('shop')).toBeUndefined();
    expect(await at(NEW).list()).toEqual([]);
    // A record that somebody copies under the id of another name is none.
    const [job] = await queue.getWaiting();
    await queue.add('kept database', job?.data ?? { facts: 0, code: '' }, { jobId: 'kept-0' });
    expect(await kept.list()).toHaveLength(2);

    await at(NEW, OLD).renew();
    expect(await at(NEW).find('店_before_2')).toEqual(record('店_before_2', 2));
    await at(NEW).remove('店_before_2');
    expect((await at(NEW).list()).map(({ name }) => name)).toEqual(['shop:before "1"']);
  });

  test('a swap is announced beside the identity, which its commit or its failure takes back', async () => {
    const registry = new WorkerRegistry(queue, new Keys([OLD]));
    const next = { ...here, databaseOid: 16500 };
    await registry.recordFirst(here);
    await registry.announce(next);
    expect(await registry.identity()).toMatchObject({ identity: here, next, predecessors: [] });
    await registry.announce(undefined);
    expect(await registry.identity()).not.toHaveProperty('next', next);
    await registry.announce(next);
    await registry.accept(next, true);
    expect(await registry.identity()).toEqual({
      identity: next,
      predecessors: [here],
      recordedOn: expect.any(Number) as number,
    });
  });
});
