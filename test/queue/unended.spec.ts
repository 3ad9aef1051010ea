import { queues } from '../support/servers.js';
import { newQueue } from '../support/queue.js';

test.each(queues)(
  'waiting jobs are listed in the order in which the %s queue gives them',
  async (_title, url) => {
    const { queue, worker, reader, daemons } = await newQueue(url);
    const ids: string[] = [];
    for (let count = 0; count < 12; count++) ids.push((await daemons.start('BACKUP', 'me')).id);
    expect(await reader.unended()).toEqual({ waiting: ids, active: 0 });
    for (const id of ids.slice(0, 2)) expect((await worker.getNextJob('token'))?.id).toBe(id);
    expect(await reader.unended()).toEqual({ waiting: ids.slice(2), active: 2 });
    await Promise.all([worker.close(), queue.close()]);
  },
);
