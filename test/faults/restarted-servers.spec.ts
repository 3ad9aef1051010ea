import pg from 'pg';
import { OwnServer, ownQueues } from '../support/own-server.js';
import { describeOnSwift, queues } from '../support/servers.js';
import { WorkerRig } from '../support/worker-rig.js';

/** By a fast shutdown, and by an immediate one, after which it recovers as after a crash: on one queue each. */
const ends = [
  { what: 'is stopped and started again', signal: 'SIGINT', queue: queues.at(0) },
  { what: 'crashes', signal: 'SIGQUIT', queue: queues.at(-1) },
] as const;

describeOnSwift("a repository's PostgreSQL that", () => {
  test.each(ends)(
    '$what in mid-backup and in mid-restore costs an attempt, which the status tells',
    async ({ signal, queue }) => {
      const server = await OwnServer.postgres();
      const rig = await WorkerRig.start(queue?.[1], {}, { repository: server.url });
      const contents = await rig.digest();
      const endInTheMiddleOf = async (type: 'Backup' | 'Restore', body = {}) => {
        const daemon = await rig.start(type, body);
        await daemon.until(({ progresssCurrent }) => progresssCurrent > 0);
        await server.end(signal);
        await daemon.until(
          /^Waiting for PostgreSQL \(try \d+, gives up at \d\d:\d\d:\d\d UTC\): PostgreSQL at .* cannot be reached/,
        );
        await server.startAgain();
        const last = await daemon.ended();
        expect(last).toMatchObject({ status: 'COMPLETED', errorMessage: null });
        expect(new Set(daemon.messages.filter((message) => message.startsWith('Attempt')))).toEqual(
          new Set([expect.stringMatching(/^Attempt 1 of 3 failed: .*PostgreSQL at .* Trying again\.$/)]),
        );
        return { daemon, last };
      };
      const { daemon, last } = await endInTheMiddleOf('Backup');
      expect(await rig.left(daemon)).toEqual({ objects: [rig.keyOf(last.backupUrl)], uploads: [] });
      await rig.spoil();
      await endInTheMiddleOf('Restore', { url: last.backupUrl });
      expect(await rig.digest()).toBe(contents);
      await rig.stop();
      await server.stop();
    },
    120_000,
  );
});

describeOnSwift.each(ownQueues)('a %s queue that is killed', (_title, startQueue, atOnce) => {
  test('while backups run and wait loses none of them', async () => {
    const queue = await startQueue();
    const rig = await WorkerRig.start(undefined, { QUEUE_URL: queue.url }, { rows: 1_000 });
    await rig.stack.startWorker();
    const done = await rig.backUp();
    const holder = new pg.Client(rig.database);
    await holder.connect();
    await holder.query('BEGIN; LOCK TABLE repository.long IN ACCESS EXCLUSIVE MODE');
    const running = [await rig.start('Backup'), await rig.start('Backup')];
    for (const daemon of running) await daemon.until(/^Waiting for table repository\.long/);
    const waiting = [await rig.start('Backup'), await rig.start('Backup'), await rig.start('Backup')];
    const before = await Promise.all(waiting.map(({ id }) => rig.stack.status(id)));
    await queue.end(atOnce);
    await queue.startAgain();
    await rig.stack.untilReady();
    expect(await rig.stack.status(done.id)).toEqual(done);
    expect(await Promise.all(waiting.map(({ id }) => rig.stack.status(id)))).toEqual(before);
    await holder.end();
    for (const daemon of [...running, ...waiting]) {
      const last = await daemon.ended();
      expect(last).toMatchObject({ status: 'COMPLETED', errorMessage: null });
      expect(await rig.left(daemon)).toEqual({ objects: [rig.keyOf(last.backupUrl)], uploads: [] });
    }
    await rig.stop();
    await queue.stop();
  });
});
