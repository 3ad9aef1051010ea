import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import type { ObjectStore } from '#storage';
import { DownloadedArchive } from '../support/archive.js';
import { eventually } from '../support/eventually.js';
import { describeOnSwift, openStore, swift } from '../support/servers.js';
import { tally, tried } from '../support/tried.js';
import { kill, lengthOf, onBothQueues, onBothQueuesBehind, TAKEN_OVER } from '../support/worker-rig.js';

/** Of each kind on each queue. */
const MOMENTS = 5;

/** Docker ends a container by force ten seconds after SIGTERM. Workers promise five; a slow machine gets the rest. */
const TO_END_WITHIN_MS = 10_000;

const times = (milliseconds: number[]) =>
  `${(Math.min(...milliseconds) / 1000).toFixed(1)} to ${(Math.max(...milliseconds) / 1000).toFixed(1)} s`;

describeOnSwift('a worker', () => {
  let store: ObjectStore;
  beforeAll(() => {
    store = openStore({ endpoint: swift().endpoint, credentials: swift().owner });
  });
  afterAll(() => store.close());

  test('killed at a random moment of a backup: another completes it, with a new snapshot', async () => {
    const takeovers: number[] = [];
    const outcomes = await onBothQueues(async (rig) => {
      const length = await lengthOf(() => rig.backUp());
      const ends: string[] = [];
      for (let moment = 0; moment < MOMENTS;) {
        const daemon = await rig.start('Backup');
        await sleep(Math.random() * length);
        await kill(rig.worker);
        const killedAt = Date.now();
        const { status } = await rig.stack.status(daemon.id);
        if (status !== 'COMPLETED') moment++;
        const before = (await rig.marks()).length;
        await rig.mark(`after kill ${moment}`);
        await rig.stack.startWorker();
        const last = await daemon.ended();
        expect(last).toMatchObject({ status: 'COMPLETED', errorMessage: null });
        expect(await rig.left(daemon)).toEqual({ objects: [rig.keyOf(last.backupUrl)], uploads: [] });
        const archive = await DownloadedArchive.of(store, rig.keyOf(last.backupUrl));
        expect(archive.test()).toContain('No errors detected');
        const marks = archive.rows('repository', 'marks').length;
        const takenOverAt = daemon.timeOf(TAKEN_OVER);
        if (takenOverAt !== undefined) takeovers.push(takenOverAt - killedAt);
        // The archive contains rows written after the kill, unless it was complete by then.
        if (marks === before) {
          ends.push(status === 'COMPLETED' ? 'completed before the kill' : 'finished, and adopted');
        } else {
          expect(marks).toBe(before + 1);
          if (status === 'IN_PROGRESS') expect(takenOverAt).toBeDefined();
          ends.push(`${status} when killed, taken over, complete`);
        }
      }
      return ends;
    });
    tried(
      'SIGKILL at a random moment of a backup',
      outcomes.flat().length,
      `${tally(outcomes.flat())}; taken over ${times(takeovers)} after the kill`,
    );
  }, 600_000);

  test('killed at a random moment of a restore: rolled back, and another completes it, once', async () => {
    const takeovers: number[] = [];
    const outcomes = await onBothQueues(async (rig) => {
      const { backupUrl: url } = await rig.backUp();
      const restored = await rig.digest();
      await rig.spoil();
      const spoiled = await rig.digest();
      const length = await lengthOf(async () => (await rig.start('Restore', { url })).ended());
      const ends: string[] = [];
      for (let moment = 0; moment < MOMENTS;) {
        await rig.spoil();
        const daemon = await rig.start('Restore', { url });
        await sleep(Math.random() * length);
        await kill(rig.worker);
        const killedAt = Date.now();
        const { status } = await rig.stack.status(daemon.id);
        if (status !== 'COMPLETED') moment++;
        await eventually(async () => (await rig.sessions()).length === 0);
        const after = await rig.digest();
        await rig.mark('after the kill');
        await rig.stack.startWorker();
        expect(await daemon.ended()).toMatchObject({ status: 'COMPLETED', errorMessage: null });
        expect(await rig.digest()).toBe(restored);
        const takenOverAt = daemon.timeOf(TAKEN_OVER);
        if (takenOverAt !== undefined) takeovers.push(takenOverAt - killedAt);
        if (after === restored) {
          expect(await rig.marks()).toEqual(['after the kill']);
          ends.push(status === 'COMPLETED' ? 'completed before the kill' : 'committed, and not done twice');
        } else {
          expect(after).toBe(spoiled);
          expect(await rig.marks()).toEqual([]);
          if (status === 'IN_PROGRESS') expect(takenOverAt).toBeDefined();
          ends.push(`${status} when killed, rolled back, taken over, equal`);
        }
      }
      return ends;
    });
    tried(
      'SIGKILL at a random moment of a restore',
      outcomes.flat().length,
      `${tally(outcomes.flat())}; taken over ${times(takeovers)} after the kill`,
    );
  }, 600_000);

  test.each(['', ', and told to end before it is taken over'])(
    'killed between the COMMIT of a restore and its completion%s: COMPLETED, and not done twice',
    async (terminated) => {
      // While the queue is silent the worker can commit, but tell nobody.
      const outcomes = await onBothQueuesBehind('queue', async (rig, proxy) => {
        const { backupUrl: url } = await rig.backUp();
        const restored = await rig.digest();
        await rig.spoil();
        const daemon = await rig.start('Restore', { url });
        // Its transaction is on record before the first row is loaded; the last note is written by then.
        const { progresssTotal } = await daemon.until(({ progresssCurrent }) => progresssCurrent > 0);
        proxy.stall();
        // To look at the table is to wait for the end of the transaction.
        expect(await rig.digest()).toBe(restored);
        await kill(rig.worker);
        proxy.resume();
        await rig.mark('since');
        if (terminated !== '') {
          const terminate = () => rig.stack.call('DELETE', `/repo/v1/terminateDaemon/${daemon.id}`);
          await eventually(async () => (await terminate()).status !== 503);
        }
        expect((await daemon.until(() => true)).status).toBe('IN_PROGRESS');
        await rig.stack.startWorker();
        expect(await daemon.ended()).toMatchObject({
          status: 'COMPLETED',
          errorMessage: null,
          progresssMessage: 'Finished: RESTORE',
          progresssTotal,
        });
        expect(await rig.digest()).toBe(restored);
        expect(await rig.marks()).toEqual(['since']);
        return 'COMPLETED, what was written since is there';
      });
      tried(`SIGKILL after COMMIT${terminated}, on each queue`, outcomes.length, tally(outcomes));
    },
  );

  test.each(['Backup', 'Restore'] as const)(
    'told to stop at a random moment of a %s: hands it back at once and leaves nothing',
    async (type) => {
      const endings: number[] = [];
      const outcomes = await onBothQueues(async (rig) => {
        const { backupUrl: url } = await rig.backUp();
        const restored = await rig.digest();
        const start = () => (type === 'Backup' ? rig.start(type) : rig.start(type, { url }));
        const length = await lengthOf(async () => (await start()).ended());
        const ends: string[] = [];
        for (let moment = 0; moment < MOMENTS;) {
          if (type === 'Restore') await rig.spoil();
          const spoiled = await rig.digest();
          const daemon = await start();
          await sleep(Math.random() * length);
          const told = Date.now();
          rig.worker.signal('SIGTERM');
          await rig.worker.ended();
          endings.push(Date.now() - told);
          const { status } = await rig.stack.status(daemon.id);
          if (status !== 'COMPLETED') moment++;
          expect(await rig.sessions()).toEqual([]);
          const { objects, uploads } = await rig.left(daemon);
          expect(uploads).toEqual([]);
          if (status !== 'COMPLETED' && type === 'Restore') expect(await rig.digest()).toBe(spoiled);
          await rig.stack.startWorker();
          expect(await daemon.ended()).toMatchObject({ status: 'COMPLETED', errorMessage: null });
          if (type === 'Restore') expect(await rig.digest()).toBe(restored);
          else expect((await rig.left(daemon)).objects).toHaveLength(1);
          // The next one took it without waiting for a lock to run out.
          expect(daemon.messages.filter((message) => TAKEN_OVER.test(message))).toEqual([]);
          ends.push(
            status === 'COMPLETED'
              ? 'completed before that'
              : `${status} when told, ${objects.length > 0 ? 'finished and adopted' : 'nothing left, completed by the next'}`,
          );
        }
        return ends;
      });
      expect(Math.max(...endings)).toBeLessThan(TO_END_WITHIN_MS);
      tried(
        `SIGTERM at a random moment of a ${type.toLowerCase()}`,
        outcomes.flat().length,
        `${tally(outcomes.flat())}; the worker ended after ${times(endings)}`,
      );
    },
    600_000,
  );

  test('that dies again and again: up to ten takeovers, then FAILED, and nothing is left', async () => {
    const takeovers = await onBothQueues(async (rig) => {
      const holder = new pg.Client(rig.database);
      await holder.connect();
      await holder.query('BEGIN; LOCK TABLE repository.long IN ACCESS EXCLUSIVE MODE');
      const daemon = await rig.start('Backup');
      const killed = new Set<string>();
      while (killed.size < 11) {
        // Each attempt removes the upload of the one before, and waits for the table then.
        const uploads = (await rig.left(daemon)).uploads.filter((key) => !killed.has(key));
        if (uploads.length === 0 || (await rig.sessions()).length === 0) {
          await sleep(50);
          continue;
        }
        expect((await rig.left(daemon)).uploads).toEqual(uploads);
        await kill(rig.worker);
        killed.add(uploads[0] ?? '');
        expect((await rig.stack.status(daemon.id)).status).toBe('IN_PROGRESS');
        await rig.stack.startWorker();
      }
      const last = await daemon.ended();
      expect(last).toMatchObject({
        status: 'FAILED',
        errorMessage:
          "Giving up: 11 workers in turn died or lost the queue while they ran this job. Check the workers' logs for the cause, such as too little memory, then start the job again.",
        backupUrl: null,
      });
      expect(last.errorDetails).toMatch(/^Failure \[WORKERS_DIED\]/);
      expect(await rig.left(daemon)).toEqual({ objects: [], uploads: [] });
      await holder.end();
      // Its worker is as good as ever.
      await rig.backUp();
      return killed.size - 1;
    });
    tried(
      'a backup whose every worker is killed, on each queue',
      takeovers.length,
      `${takeovers.join(' and ')} takeovers, then FAILED with the reason, no upload left`,
    );
  }, 900_000);

  test('that dies twice leaves a job its three attempts for later errors', async () => {
    const outcomes = await onBothQueuesBehind('repository', async (rig, proxy) => {
      const daemon = await rig.start('Backup');
      await daemon.until(({ progresssCurrent }) => progresssCurrent > 0);
      for (let crash = 0; crash < 2; crash++) {
        await kill(rig.worker);
        await rig.stack.startWorker();
        await eventually(() => rig.hasBegun(daemon));
      }
      await daemon.until(TAKEN_OVER);
      proxy.breakAfterBytes = 0;
      expect(await daemon.ended()).toMatchObject({
        status: 'FAILED',
        errorMessage: expect.stringMatching(/^The connection to PostgreSQL at .* broke/) as unknown,
      });
      const failed = new Set(
        daemon.messages.flatMap((message) => /^Attempt (\d of \d) failed/.exec(message)?.[1] ?? []),
      );
      expect([...failed]).toEqual(['1 of 3', '2 of 3']);
      expect(await rig.left(daemon)).toEqual({ objects: [], uploads: [] });
      return 'two takeovers, then three attempts, then FAILED with the last error';
    });
    tried('two kills, and PostgreSQL away after that, on each queue', outcomes.length, tally(outcomes));
  }, 300_000);

  test.each(['queue', 'store', 'repository'] as const)(
    'told to stop while the %s is silent ends, and another completes its backup',
    async (server) => {
      const endings: number[] = [];
      const outcomes = await onBothQueuesBehind(server, async (rig, proxy) => {
        const daemon = await rig.start('Backup');
        await daemon.until(({ progresssCurrent }) => progresssCurrent > 0);
        proxy.stall();
        const told = Date.now();
        rig.worker.signal('SIGTERM');
        await rig.worker.ended();
        endings.push(Date.now() - told);
        proxy.resume();
        await eventually(async () => (await rig.sessions()).length === 0);
        await rig.stack.startWorker();
        const { status, backupUrl } = await daemon.ended();
        expect(status).toBe('COMPLETED');
        expect(await rig.left(daemon)).toEqual({ objects: [rig.keyOf(backupUrl)], uploads: [] });
        // Only what cannot be handed back has to be taken over.
        const takenOver = daemon.messages.some((message) => TAKEN_OVER.test(message));
        expect(takenOver).toBe(server === 'queue');
        return takenOver ? 'taken over, complete' : 'handed back, complete';
      });
      expect(Math.max(...endings)).toBeLessThan(TO_END_WITHIN_MS);
      tried(
        `SIGTERM while the ${server} is silent, on each queue`,
        outcomes.length,
        `${tally(outcomes)}; the worker ended after ${times(endings)}`,
      );
    },
  );
});
