import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import type { ObjectStore } from '#storage';
import { DownloadedArchive } from '../support/archive.js';
import { describeOnSwift, openStore, swift } from '../support/servers.js';
import { tally, tried } from '../support/tried.js';
import type { FollowedDaemon } from '../support/followed-daemon.js';
import {
  lengthOf,
  onBothQueues,
  onBothQueuesBehind,
  TAKEN_OVER,
  type WorkerRig,
} from '../support/worker-rig.js';

/** Longer than a worker's lock on its job. */
const LONGER_THAN_A_LOCK_MS = 17_000;

/** On each queue. */
const MOMENTS = 3;

describeOnSwift('a worker that is frozen past its lock', () => {
  let store: ObjectStore;
  beforeAll(() => {
    store = openStore({ endpoint: swift().endpoint, credentials: swift().owner });
  });
  afterAll(() => store.close());

  /** Locks the table as soon as nobody uses it, so that later attempts wait. */
  async function holdUpNextAttempt(rig: WorkerRig) {
    const holder = new pg.Client(rig.database);
    await holder.connect();
    const held = holder.query('BEGIN; LOCK TABLE repository.long IN ACCESS EXCLUSIVE MODE');
    return { release: async () => held.then(() => holder.end()) };
  }

  async function freezeInTheMiddleOf(rig: WorkerRig, type: 'Backup' | 'Restore', body = {}) {
    const daemon = await rig.start(type, body);
    await daemon.until(({ progresssCurrent }) => progresssCurrent > 0);
    const frozen = rig.worker;
    frozen.signal('SIGSTOP');
    return { daemon, frozen };
  }

  /** Freezes the worker at a random moment of a running job of about this length. */
  async function freezeAtRandom(rig: WorkerRig, length: number, start: () => Promise<FollowedDaemon>) {
    for (;;) {
      const daemon = await start();
      await sleep(Math.random() * length);
      const frozen = rig.worker;
      frozen.signal('SIGSTOP');
      const { status } = await rig.stack.status(daemon.id);
      if (status !== 'COMPLETED' && rig.hasBegun(daemon)) return { daemon, frozen };
      frozen.signal('SIGCONT');
      await daemon.ended();
    }
  }

  test('in a backup, and wakes up while another one is at work on it: its line does not stand, nor its upload', async () => {
    const outcomes = await onBothQueues(async (rig) => {
      const { daemon, frozen } = await freezeInTheMiddleOf(rig, 'Backup');
      const [upload] = (await rig.left(daemon)).uploads;
      const holder = await holdUpNextAttempt(rig);
      await rig.stack.startWorker();
      await daemon.until(/^Waiting for table repository\.long, .* \(taken over/);
      const { uploads } = await rig.left(daemon);
      expect(uploads).toHaveLength(1);
      expect(uploads).not.toEqual([upload]);
      frozen.signal('SIGCONT');
      await rig.attemptEnded(frozen, daemon);
      expect(await rig.left(daemon)).toEqual({ objects: [], uploads });
      await daemon.until(/^Waiting for table repository\.long, .* \(taken over/);
      await holder.release();
      const last = await daemon.ended();
      expect(last).toMatchObject({ status: 'COMPLETED', errorMessage: null });
      expect(await rig.left(daemon)).toEqual({ objects: [rig.keyOf(last.backupUrl)], uploads: [] });
      // It is as good a worker as any other.
      await rig.worker.stop();
      rig.stack.workers.push(frozen);
      await rig.backUp();
      return 'complete, one archive';
    });
    tried(
      'SIGSTOP in a backup, SIGCONT while another is at it, on each queue',
      outcomes.length,
      tally(outcomes),
    );
  });

  test('at a random moment of a backup, and wakes up after that: one archive, and it is whole', async () => {
    const outcomes = await onBothQueues(async (rig) => {
      const length = await lengthOf(() => rig.backUp());
      for (let moment = 0; moment < MOMENTS; moment++) {
        const { daemon, frozen } = await freezeAtRandom(rig, length, () => rig.start('Backup'));
        await rig.stack.startWorker();
        const last = await daemon.ended();
        expect(last).toMatchObject({ status: 'COMPLETED', errorMessage: null });
        // Frozen as it is, it keeps nobody from the repository.
        const restore = await rig.start('Restore', { url: last.backupUrl });
        expect(await restore.ended()).toMatchObject({ status: 'COMPLETED' });
        frozen.signal('SIGCONT');
        await rig.attemptEnded(frozen, daemon);
        await frozen.stop();
        const key = rig.keyOf(last.backupUrl);
        expect(await rig.left(daemon)).toEqual({ objects: [key], uploads: [] });
        expect((await DownloadedArchive.of(store, key)).test()).toContain('No errors detected');
        expect(await rig.stack.status(daemon.id)).toEqual(last);
      }
      expect(await rig.sessions()).toEqual([]);
      return Array<string>(MOMENTS).fill('one whole archive, no upload');
    });
    tried('SIGSTOP at a random moment of a backup', outcomes.flat().length, tally(outcomes.flat()));
  });

  test('in a restore, and wakes up while another one is at work on it: its session is ended before', async () => {
    const outcomes = await onBothQueues(async (rig) => {
      const { backupUrl: url } = await rig.backUp();
      const restored = await rig.digest();
      await rig.spoil();
      const { daemon, frozen } = await freezeInTheMiddleOf(rig, 'Restore', { url });
      const before = await rig.sessions();
      expect(before.length).toBeGreaterThan(1);
      const holder = await holdUpNextAttempt(rig);
      await rig.stack.startWorker();
      await daemon.until(/^Waiting for table repository\.long, .* \(taken over/);
      const now = await rig.sessions();
      expect(before.filter((session) => now.includes(session))).toEqual([]);
      frozen.signal('SIGCONT');
      await rig.attemptEnded(frozen, daemon);
      await daemon.until(TAKEN_OVER);
      await holder.release();
      expect(await daemon.ended()).toMatchObject({ status: 'COMPLETED', errorMessage: null });
      expect(await rig.digest()).toBe(restored);
      return 'restored';
    });
    tried(
      'SIGSTOP in a restore, SIGCONT while another is at it, on each queue',
      outcomes.length,
      tally(outcomes),
    );
  });

  test('at a random moment of a restore, and wakes up after that: restored once', async () => {
    const outcomes = await onBothQueues(async (rig) => {
      const { backupUrl: url } = await rig.backUp();
      const restored = await rig.digest();
      const length = await lengthOf(async () => (await rig.start('Restore', { url })).ended());
      for (let moment = 0; moment < MOMENTS; moment++) {
        const { daemon, frozen } = await freezeAtRandom(rig, length, async () => {
          await rig.spoil();
          return rig.start('Restore', { url });
        });
        await rig.stack.startWorker();
        const last = await daemon.ended();
        expect(last).toMatchObject({ status: 'COMPLETED', errorMessage: null });
        await rig.mark('since');
        frozen.signal('SIGCONT');
        await rig.attemptEnded(frozen, daemon);
        await frozen.stop();
        expect(await rig.digest()).toBe(restored);
        expect(await rig.marks()).toEqual(['since']);
        expect(await rig.stack.status(daemon.id)).toEqual(last);
      }
      expect(await rig.sessions()).toEqual([]);
      return Array<string>(MOMENTS).fill('restored, and what was written since is there');
    });
    tried('SIGSTOP at a random moment of a restore', outcomes.flat().length, tally(outcomes.flat()));
  });

  test.each(['goes on after that', 'is finished by then'])(
    'as is one whose queue is silent for longer than its lock: its own backup, which %s, comes back to it',
    async (what) => {
      const outcomes = await onBothQueuesBehind(
        'queue',
        async (rig, proxy) => {
          const holder = what === 'goes on after that' ? await holdUpNextAttempt(rig) : undefined;
          const daemon = await rig.start('Backup');
          if (holder === undefined) await daemon.until(({ progresssCurrent }) => progresssCurrent > 0);
          else await daemon.until(/^Waiting for table repository/);
          proxy.stall();
          await sleep(LONGER_THAN_A_LOCK_MS);
          proxy.resume();
          const attempts = () => rig.worker.logTail(1_000).split('"Started"').length - 1;
          // The PostgreSQL queue renews the expired lock, so there is no second attempt.
          await Promise.race([daemon.until(TAKEN_OVER), sleep(LONGER_THAN_A_LOCK_MS)]).catch(() => undefined);
          await holder?.release();
          const last = await daemon.ended();
          expect(last).toMatchObject({ status: 'COMPLETED', errorMessage: null });
          expect(await rig.left(daemon)).toEqual({ objects: [rig.keyOf(last.backupUrl)], uploads: [] });
          const needed = attempts();
          await rig.backUp();
          return `complete after ${needed} attempts`;
        },
        // Room for the second attempt beside the first.
        { WORKER_CONCURRENCY: '2' },
      );
      tried(
        `a queue that is silent for 17 s while a backup ${what}, on each queue`,
        outcomes.length,
        tally(outcomes),
      );
    },
  );
});
