import { setTimeout as sleep } from 'node:timers/promises';
import { OwnServer, ownQueues } from '../support/own-server.js';
import { describeOnSwift, queues } from '../support/servers.js';
import { tally, tried } from '../support/tried.js';
import { lengthOf, onBothQueuesBehind, TAKEN_OVER, WorkerRig } from '../support/worker-rig.js';

/** Of each kind on each queue. */
const MOMENTS = 3;
const WAITING_FOR_THE_STORE = /, waiting for the object store: /;

describeOnSwift('the object store', () => {
  test.each([
    // A connection that is silent is given up after a minute.
    ['silent for 70 s', 70_000, 'stall', 'resume'],
    ['gone for 30 s', 30_000, 'close', 'reopen'],
  ] as const)('is %s in mid-backup and in mid-restore: no attempt is lost', async (what, ms, begin, end) => {
    const outcomes = await onBothQueuesBehind('store', async (rig, proxy) => {
      const contents = await rig.digest();
      const comeThrough = async (type: 'Backup' | 'Restore', body = {}) => {
        const daemon = await rig.start(type, body);
        await daemon.until(({ progresssCurrent }) => progresssCurrent > 0);
        await proxy[begin]();
        await sleep(ms);
        await proxy[end]();
        const last = await daemon.ended();
        expect(last).toMatchObject({ status: 'COMPLETED', errorMessage: null });
        expect(daemon.messages.some((message) => WAITING_FOR_THE_STORE.test(message))).toBe(true);
        expect(daemon.messages.filter((message) => /^Attempt|taken over/.test(message))).toEqual([]);
        return { daemon, last };
      };
      const { daemon, last } = await comeThrough('Backup');
      expect(await rig.left(daemon)).toEqual({ objects: [rig.keyOf(last.backupUrl)], uploads: [] });
      await rig.spoil();
      await comeThrough('Restore', { url: last.backupUrl });
      expect(await rig.digest()).toBe(contents);
      return ['backup complete in one attempt', 'restored in one attempt'];
    });
    tried(`an object store ${what}`, outcomes.flat().length, tally(outcomes.flat()));
  });
});

describeOnSwift("a repository's PostgreSQL", () => {
  test.each([
    ['stopped and started again', 'SIGINT'],
    ['crashed', 'SIGQUIT'],
  ] as const)(
    'is %s at a random moment of a backup and of a restore',
    async (what, signal) => {
      const outcomes = await Promise.all(
        queues.map(async ([, queueUrl]) => {
          const server = await OwnServer.postgres();
          const rig = await WorkerRig.start(queueUrl, {}, { repository: server.url });
          const contents = await rig.digest();
          const ends: string[] = [];
          let url: string | null = null;
          for (const type of ['Backup', 'Restore'] as const) {
            const start = () => rig.start(type, type === 'Restore' ? { url } : {});
            const length = await lengthOf(async () => (url = (await (await start()).ended()).backupUrl));
            for (let moment = 0; moment < MOMENTS;) {
              if (type === 'Restore') await rig.spoil();
              const daemon = await start();
              await sleep(Math.random() * length);
              const { status } = await rig.stack.status(daemon.id);
              await server.end(signal);
              await server.startAgain();
              const last = await daemon.ended();
              expect(last).toMatchObject({ status: 'COMPLETED', errorMessage: null });
              if (type === 'Restore') expect(await rig.digest()).toBe(contents);
              else
                expect(await rig.left(daemon)).toEqual({ objects: [rig.keyOf(last.backupUrl)], uploads: [] });
              if (status === 'COMPLETED') continue;
              moment++;
              const failed = daemon.messages.some((message) => message.startsWith('Attempt 1 of 3 failed'));
              ends.push(
                `${type.toLowerCase()} complete ${failed ? 'in a later attempt' : 'in the same attempt'}`,
              );
            }
          }
          await rig.stop();
          await server.stop();
          return ends;
        }),
      );
      tried(`the repository's PostgreSQL ${what}`, outcomes.flat().length, tally(outcomes.flat()));
    },
    600_000,
  );
});

describeOnSwift.each(ownQueues)('the %s queue', (title, startQueue, atOnce) => {
  test.each([
    ['stopped', 'SIGINT'],
    ['killed', atOnce],
  ] as const)(
    'is %s at a random moment, with backups running and waiting, and is away for a moment: all complete',
    async (what, signal) => {
      const queue = await startQueue();
      const rig = await WorkerRig.start(undefined, { QUEUE_URL: queue.url }, { rows: 100_000 });
      await rig.stack.startWorker();
      const length = await lengthOf(() => rig.backUp());
      const ends: string[] = [];
      for (let moment = 0; moment < MOMENTS; moment++) {
        const daemons = [];
        for (let i = 0; i < 4; i++) daemons.push(await rig.start('Backup'));
        await sleep(Math.random() * 2 * length);
        await queue.end(signal);
        await sleep(Math.random() * 2 * length);
        await queue.startAgain();
        for (const daemon of daemons) {
          const last = await daemon.ended();
          expect(last).toMatchObject({ status: 'COMPLETED', errorMessage: null });
          expect(await rig.left(daemon)).toEqual({ objects: [rig.keyOf(last.backupUrl)], uploads: [] });
          const takenOver = daemon.messages.some((message) => TAKEN_OVER.test(message));
          ends.push(takenOver ? 'taken over, complete' : 'complete');
        }
      }
      await rig.stop();
      await queue.stop();
      tried(`the ${title} queue ${what}, four backups each time`, MOMENTS, tally(ends));
    },
    600_000,
  );
});
