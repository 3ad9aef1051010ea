import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ScheduleView } from '#contracts';
import { eventually } from '../support/eventually.js';
import { oneOf, queues, sql, thorough } from '../support/servers.js';
import { Stack } from '../support/stack.js';

const DAY_MS = 24 * 60 * 60 * 1000;
const EACH_SECOND = '* * * * * *';
const DAILY = '30 2 * * *';
/** The time for which an API with a wrong clock works beside the other. Its schedules take steps each second. */
const WRONG_FOR_MS = 4_000;

describe.each(oneOf(queues, 1))(
  'an API whose clock is 400 days ahead, on the %s queue',
  (_title, queueUrl) => {
    let stack: Stack;
    let key: string;
    let token: string;
    beforeAll(async () => {
      stack = await Stack.start({ queueUrl });
      const { body } = await stack.call<{ key: string }>('POST', '/auth/v1/keys', {
        name: 'hourly',
        scope: 'read',
        expiresOn: Date.now() + 3_600_000,
      });
      key = body.key;
      token = stack.sessionToken;
    });
    afterAll(() => stack.stop());

    const change = <Row extends object>(text: string, values: unknown[] = []) =>
      sql<Row>(stack.env['DATABASE_URL'] ?? '', text, values);
    const put = (name: string, body: object) => stack.call('PUT', `/repo/v1/schedules/${name}`, body);
    const get = async (name: string, api = stack) =>
      (await api.call<ScheduleView>('GET', `/repo/v1/schedules/${name}`)).body;
    const poll = async (sessionToken: string, api: Stack) =>
      (await api.call('GET', '/repo/v1/daemonStatus/999', undefined, { sessionToken })).status;

    /** Waits for this number of further completed runs. */
    async function completed(name: string, runs: number): Promise<void> {
      const before = (await get(name)).lastRun?.daemonId;
      const seen = new Set<string | null>();
      await eventually(async () => {
        const { lastRun } = await get(name);
        if (lastRun?.status === 'FAILED') throw new Error(JSON.stringify(lastRun));
        if (lastRun?.status === 'COMPLETED' && lastRun.daemonId !== before) seen.add(lastRun.daemonId);
        return seen.size >= runs;
      }, 100);
    }

    test('starts nothing early, ends no session or key, and leaves nothing that stops a schedule', async () => {
      await put('steady', { pattern: EACH_SECOND, then: 'nothing' });
      await put('nightly', { pattern: DAILY, then: 'nothing' });
      const { nextRunOn } = await get('nightly');
      await completed('steady', 1);

      const wrong = await Stack.start({
        workers: 0,
        env: {
          ...stack.env,
          NODE_OPTIONS: `--require ${join(__dirname, '../support/clock-ahead.cjs')}`,
        },
      });
      try {
        // It has logged in there, which is when sessions that are over are deleted.
        for (const api of [wrong, stack])
          for (const each of [key, token]) expect(await poll(each, api)).toBe(404);
        expect((await get('nightly', wrong)).nextRunOn).toBe(nextRunOn);
        await wrong.call('PUT', '/repo/v1/schedules/late', { pattern: DAILY, then: 'nothing' });
        await sleep(WRONG_FOR_MS);
      } finally {
        wrong.api.signal('SIGKILL');
        await wrong.api.ended();
        await wrong.stop();
      }

      await completed('steady', 3);
      expect(await get('nightly')).toMatchObject({ nextRunOn, lastRun: null });
      expect(await get('late')).toMatchObject({ nextRunOn, lastRun: null });
      const times = await change<{ future: string }>(
        `SELECT what AS future FROM (
         SELECT 'session', max(expires_on) - interval '24 hours' FROM snapshotd.session UNION ALL
         SELECT 'key', max(last_used_on) FROM snapshotd.api_key UNION ALL
         SELECT 'settled', max(settled_on) FROM snapshotd.schedule UNION ALL
         SELECT 'due', max(due_on) FROM snapshotd.schedule_run UNION ALL
         SELECT 'made', max(created_on) FROM snapshotd.schedule_archive UNION ALL
         SELECT 'completed', max(completed_on) FROM snapshotd.schedule_archive UNION ALL
         SELECT 'login', to_timestamp(max(expire) / 1000 - 60) FROM snapshotd.login_limit
       ) AS times (what, time) WHERE time > now()`,
      );
      expect(times).toEqual([]);
      await put('steady', { pattern: EACH_SECOND, then: 'nothing', enabled: false });
    });

    test('is made good where it has settled a schedule and opened a count of logins before', async () => {
      const [email, password] = ['someone@example.org', 'guess'];
      for (let i = 0; i < 11; i++) await stack.call('POST', '/auth/v1/session', { email, password });
      await change(`UPDATE snapshotd.login_limit SET expire = expire + $1`, [400 * DAY_MS]);
      expect(await stack.call('POST', '/auth/v1/session', { email, password })).toMatchObject({
        status: 401,
      });

      await put('settled', { pattern: EACH_SECOND, then: 'nothing' });
      await change(
        `UPDATE snapshotd.schedule SET settled_on = now() + interval '400 days' WHERE name = 'settled'`,
      );
      await completed('settled', 2);
      const next = (await get('settled')).nextRunOn ?? Infinity;
      expect(next - Date.now()).toBeLessThan(2_000);
      await put('settled', { pattern: EACH_SECOND, then: 'nothing', enabled: false });
    });

    if (queueUrl !== undefined) return;

    (thorough ? test : test.skip)(
      'is made good where it died in a step, which the queue takes for its own for 400 days',
      async () => {
        for (const worker of stack.workers.splice(0)) await worker.stop();
        await put('locked', { pattern: EACH_SECOND, then: 'nothing' });
        await eventually(async () => typeof (await get('locked')).lastRun?.daemonId === 'string');
        await put('locked', { pattern: DAILY, then: 'nothing' });
        // The step that goes on finds that another has its job, and leaves it.
        await change(
          `UPDATE snapshotd_queue.job SET state = 'active', lock_token = 'its', locked_until_ms = $1
        WHERE queue = 'schedules' AND id LIKE 'locked-%'`,
          [Date.now() + 400 * DAY_MS],
        );
        await change(
          `UPDATE snapshotd_queue.meta SET value = $1 WHERE queue = 'schedules' AND field = 'stalled-check'`,
          [String(Date.now() + 400 * DAY_MS)],
        );
        await stack.startWorker();
        await eventually(async () => (await get('locked')).lastRun?.status === 'COMPLETED');
      },
    );
  },
);
