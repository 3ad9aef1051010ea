import { queues } from '../support/servers.js';
import { newQueue } from '../support/queue.js';

test.each(queues)(
  'the %s queue takes one job per mark, while it waits and after it has ended',
  async (_title, queueUrl) => {
    const { queue, worker, reader, daemons } = await newQueue(queueUrl);
    try {
      const start = () => daemons.startMarked('BACKUP of a: b', 'BACKUP', 'schedule a');
      const [first, ...others] = await Promise.all([start(), start(), start()]);
      for (const other of others) expect(other).toEqual(first);
      const { id } = first;
      await daemons.terminate(id);
      expect(await start()).toMatchObject({ id, status: 'FAILED' });

      const job = await worker.getNextJob('token');
      expect(job?.id).toBe(id);
      await job?.moveToFailed(new Error('It failed.'), 'token', false);
      expect(await start()).toMatchObject({ id, status: 'FAILED' });
      expect(await worker.getNextJob('token', { block: false })).toBeUndefined();
      expect(await reader.statusOfMarked(id, 'of another life')).toBeUndefined();
      expect((await daemons.startMarked('another', 'BACKUP', 'schedule a')).id).not.toBe(id);

      // It neither returns nor signs jobs that it did not add.
      for (const [mark, more] of [
        ['forged', { code: 'ab'.repeat(32) }],
        ['forged and not confirmed', { unconfirmed: true as const }],
      ] as const) {
        const data = { startedBy: 'schedule a', startedOn: 1, nonce: 'a', mark, ...more };
        const forged = await queue.add('RESTORE', data, { deduplication: { id: mark, ttl: 60_000 } });
        const own = await daemons.startMarked(mark, 'BACKUP', 'schedule a');
        expect(own).toMatchObject({ type: 'BACKUP', status: 'STARTED' });
        expect(own.id).not.toBe(forged.id);
        expect(await reader.authenticStatus(forged.id ?? '')).toBeUndefined();
        expect((await daemons.startMarked(mark, 'BACKUP', 'schedule a')).id).toBe(own.id);
      }
    } finally {
      await worker.close();
      await queue.close();
    }
  },
);
