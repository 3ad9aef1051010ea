import { randomBytes } from 'node:crypto';
import { Redis } from 'ioredis';
import type { DaemonStatus } from '#contracts';
import type { ObjectStore } from '#storage';
import { eventually } from '../support/eventually.js';
import { S3Proxy } from '../support/s3-proxy.js';
import { oneOf, openStore, queues, servers, sql } from '../support/servers.js';
import { Stack } from '../support/stack.js';

interface Schedule {
  name: string;
  pattern: string;
  enabled: boolean;
  nextRunOn: number | null;
  lastRun: {
    startedOn: number;
    daemonId: string | null;
    status: string;
    errorMessage: string | null;
  } | null;
  lastCompletedOn: number | null;
  lastVerifiedOn: number | null;
}

interface Pruning {
  keep: { name: string; createdOn: number; because: string[] }[];
  delete: { name: string; createdOn: number }[];
}

const EACH_SECOND = '* * * * * *';
const FAR_AWAY = '0 0 29 2 *';

describe.each(oneOf(queues, 0))('schedules on the %s queue', (_title, queueUrl) => {
  const prefix = `scheduled-${randomBytes(4).toString('hex')}/`;
  let proxy: S3Proxy;
  let store: ObjectStore;
  let stack: Stack;
  beforeAll(async () => {
    proxy = await S3Proxy.to(servers.s3.endpoint);
    store = openStore(servers.s3);
    stack = await Stack.start({ queueUrl, env: { S3_ENDPOINT: proxy.url, S3_PREFIX: prefix } });
  });
  afterAll(async () => {
    await stack.stop();
    store.close();
    await proxy.close();
  });

  const put = (name: string, body: object) => stack.call<Schedule>('PUT', `/repo/v1/schedules/${name}`, body);
  const get = async (name: string) => (await stack.call<Schedule>('GET', `/repo/v1/schedules/${name}`)).body;
  const pruning = async (name: string) =>
    (await stack.call<Pruning>('GET', `/repo/v1/schedules/${name}/pruning`)).body;
  const archivesOf = (name: string) =>
    sql<{ url: string; daemon: string; verified_by: string | null }>(
      stack.env['DATABASE_URL'] ?? '',
      'SELECT url, daemon, verified_by FROM snapshotd.schedule_archive WHERE schedule = $1 ORDER BY created_on',
      [name],
    );
  const change = (text: string) => sql(stack.env['DATABASE_URL'] ?? '', text);

  async function until(name: string, condition: (schedule: Schedule) => boolean): Promise<Schedule> {
    return eventually(async () => {
      const schedule = await get(name);
      return condition(schedule) && schedule;
    });
  }

  /** Waits for this number of further completed runs. */
  async function completed(name: string, runs: number): Promise<void> {
    const seen = new Set<string>();
    const before = (await get(name)).lastRun?.daemonId;
    await until(name, ({ lastRun }) => {
      if (lastRun?.status === 'FAILED') throw new Error(JSON.stringify(lastRun));
      if (lastRun?.status === 'COMPLETED' && lastRun.daemonId !== null && lastRun.daemonId !== before)
        seen.add(lastRun.daemonId);
      return seen.size >= runs;
    });
  }

  /** Waits for the end of the current run, which prunes while the schedule is enabled, and then disables it. */
  async function rest(name: string, body: object): Promise<Schedule> {
    const { pattern } = await get(name);
    if (pattern === EACH_SECOND) await put(name, { pattern: FAR_AWAY, ...body });
    await until(name, ({ lastRun }) => lastRun?.status !== 'IN_PROGRESS');
    await put(name, { pattern: FAR_AWAY, ...body, enabled: false });
    return get(name);
  }

  async function bucket(): Promise<string[]> {
    const names: string[] = [];
    for await (const { key } of store.list(prefix, AbortSignal.timeout(10_000)))
      names.push(key.slice(prefix.length));
    return names.sort();
  }

  async function startedBy(name: string): Promise<DaemonStatus[]> {
    const found: DaemonStatus[] = [];
    for (let id = 1; ; id++) {
      const { status, body } = await stack.call<DaemonStatus>('GET', `/repo/v1/daemonStatus/${id}`);
      // A sequence of PostgreSQL leaves numbers out where nothing was added.
      if (status === 404 && id > 100) return found;
      if (status === 200 && body.startedBy === `schedule ${name}`) found.push(body);
    }
  }

  const nameOf = (url: string) => url.slice(url.lastIndexOf('/') + 1);
  const withRecord = (names: string[]) => names.flatMap((name) => [name, `${name}.verified.json`]).sort();

  test('run on time, verify, and keep their own archives by their retention', async () => {
    const byHand = await stack.finished((await stack.startBackup()).id);
    const definition = { then: 'verify', retention: { last: 2 }, timeZone: 'Europe/Berlin' };
    const asked = Date.now();
    const made = await put('steady', { pattern: EACH_SECOND, ...definition });
    expect(made).toMatchObject({
      status: 201,
      body: {
        name: 'steady',
        pattern: EACH_SECOND,
        ...definition,
        then: 'FIT',
        enabled: true,
        createdBy: Stack.administrator.email,
        lastRun: null,
        lastCompletedOn: null,
        lastVerifiedOn: null,
      },
    });
    expect(made.body.nextRunOn).toBeGreaterThan(asked);
    await completed('steady', 3);
    const schedule = await rest('steady', definition);
    expect(schedule).toMatchObject({ enabled: false, nextRunOn: null });
    expect(schedule.lastVerifiedOn).toBeGreaterThanOrEqual(schedule.lastCompletedOn ?? Infinity);

    const daemons = await startedBy('steady');
    const backups = daemons.filter(({ type }) => type === 'BACKUP');
    expect(backups.length).toBeGreaterThanOrEqual(3);
    expect(daemons.filter(({ type }) => type === 'VERIFY')).toHaveLength(backups.length);
    const rows = await archivesOf('steady');
    expect(rows).toEqual(
      backups.slice(-2).map(({ id, backupUrl }) => ({ daemon: id, url: backupUrl, verified_by: 'FIT' })),
    );
    expect(await bucket()).toEqual(
      [nameOf(byHand.backupUrl ?? ''), ...withRecord(rows.map(({ url }) => nameOf(url)))].sort(),
    );
  });

  test('show the archives to delete and the reasons to keep the others, without deleting any', async () => {
    await rest('steady', { retention: { last: 1 } });
    const [older = '', newer = ''] = (await archivesOf('steady')).map(({ url }) => nameOf(url));
    expect(await pruning('steady')).toEqual({
      keep: [{ name: newer, createdOn: expect.any(Number), because: ['last'] }],
      delete: [{ name: older, createdOn: expect.any(Number) }],
    });
    expect(await bucket()).toEqual(expect.arrayContaining(withRecord([older, newer])));

    for (const worker of stack.workers.splice(0)) await worker.stop();
    const { body: reader } = await stack.call<DaemonStatus>('POST', '/repo/v1/startVerifyDaemon', {
      url: older,
    });
    expect(await pruning('steady')).toMatchObject({
      keep: [{ name: newer }, { name: older, because: [`job ${reader.id} needs it`] }],
      delete: [],
    });
    await rest('steady', {});
    expect((await pruning('steady')).keep.map(({ because }) => because)).toEqual([
      ['no retention'],
      ['no retention'],
    ]);
  });

  test('never run twice at once: runs that are due meanwhile are skipped and counted', async () => {
    // There is no worker: the run waits.
    await put('busy', { pattern: EACH_SECOND, then: 'nothing' });
    const { lastRun } = await until('busy', (schedule) =>
      /^2 runs that were due meanwhile/.test(schedule.lastRun?.errorMessage ?? ''),
    );
    expect(lastRun).toMatchObject({ status: 'IN_PROGRESS' });
    expect(await startedBy('busy')).toMatchObject([{ type: 'BACKUP', status: 'STARTED' }]);
    await put('busy', { pattern: EACH_SECOND, then: 'nothing', enabled: false });
    await stack.startWorker();
    await until('busy', (schedule) => schedule.lastRun?.status === 'COMPLETED');
    expect(await startedBy('busy')).toHaveLength(1);
    expect(await archivesOf('busy')).toMatchObject([{ verified_by: null }]);
    expect(await stack.call('DELETE', '/repo/v1/schedules/busy')).toMatchObject({ status: 204 });
    expect(await stack.call('GET', '/repo/v1/schedules/busy')).toMatchObject({ status: 404 });
    expect(await archivesOf('busy')).toEqual([]);
    const [{ backupUrl } = { backupUrl: null }] = await startedBy('busy');
    expect(await bucket()).toContain(nameOf(backupUrl ?? 'none'));
  });

  test('make up once for the runs of ten days, and none is doubled when the API dies between its steps', async () => {
    for (const worker of stack.workers.splice(0)) await worker.stop();
    // Never due while this test runs.
    const farAway = new Date(Date.now() + 12 * 3_600_000);
    const pattern = `${farAway.getUTCMinutes()} ${farAway.getUTCHours()} * * *`;
    await put('daily', { pattern, then: 'verify', retention: { daily: 7 } });
    await change(
      `UPDATE snapshotd.schedule SET settled_on = now() - interval '10 days' WHERE name = 'daily'`,
    );
    await stack.restartApi('SIGKILL');
    await until('daily', ({ lastRun }) => typeof lastRun?.daemonId === 'string');

    // As if it had died after starting the job and before recording it.
    await change(`UPDATE snapshotd.schedule_run SET backup_daemon = NULL WHERE schedule = 'daily'`);
    await stack.restartApi('SIGKILL');
    await stack.startWorker();
    await until('daily', ({ lastRun }) => lastRun?.daemonId !== null);
    await stack.restartApi('SIGKILL');
    const { lastRun } = await until('daily', (schedule) => schedule.lastRun?.status !== 'IN_PROGRESS');
    expect(lastRun).toMatchObject({ status: 'COMPLETED', errorMessage: null });
    expect(await startedBy('daily')).toMatchObject([
      { type: 'BACKUP', status: 'COMPLETED' },
      { type: 'VERIFY', status: 'COMPLETED' },
    ]);
    expect(await archivesOf('daily')).toMatchObject([{ verified_by: 'FIT' }]);
    const [verified] = await sql<{ verification_seconds: number }>(
      stack.env['DATABASE_URL'] ?? '',
      "SELECT verification_seconds FROM snapshotd.schedule_archive WHERE schedule = 'daily'",
    );
    expect(verified?.verification_seconds).toBeGreaterThan(0);
    // Without then, a change keeps the level.
    expect(await put('daily', { pattern })).toMatchObject({ status: 200, body: { then: 'FIT' } });
  });

  test('come back by themselves after the queue has lost everything', async () => {
    await put('lasting', { pattern: EACH_SECOND, then: 'nothing' });
    await completed('lasting', 1);
    await loseAll(stack);
    const lost = Date.now();
    await until('lasting', ({ lastRun }) => lastRun?.status === 'COMPLETED' && lastRun.startedOn > lost);
    await rest('lasting', { then: 'nothing' });
  });

  // Tests that do not depend on the queue run on one.
  if (queueUrl !== undefined) return;

  test('complete though the store refuses to delete, and say so', async () => {
    proxy.fault = ({ operation }) =>
      operation === 'DeleteObject' ? { status: 403, code: 'AccessDenied' } : undefined;
    await put('refused', { pattern: EACH_SECOND, then: 'nothing', retention: { last: 1 } });
    const { lastRun } = await until('refused', (schedule) =>
      /^Old archives/.test(schedule.lastRun?.errorMessage ?? ''),
    );
    expect(lastRun).toMatchObject({
      status: 'COMPLETED',
      errorMessage: expect.stringMatching(
        /^Cannot delete old archives: Access Denied: the credentials lack s3:DeleteObject on the bucket archives\. /,
      ),
    });
    expect(await archivesOf('refused')).toHaveLength(2);
    proxy.fault = () => undefined;
    await until('refused', (schedule) => schedule.lastRun?.errorMessage === null);
    await completed('refused', 1);
    await rest('refused', { then: 'nothing', retention: { last: 1 } });
    expect(await archivesOf('refused')).toHaveLength(1);
  });

  test('that fail to back up prune nothing', async () => {
    const [kept] = await archivesOf('refused');
    proxy.fault = ({ operation }) =>
      operation === 'CreateMultipartUpload' ? { status: 403, code: 'AccessDenied' } : undefined;
    await put('refused', { pattern: EACH_SECOND, then: 'nothing', retention: { last: 1 } });
    const { lastRun } = await until('refused', (schedule) => schedule.lastRun?.status === 'FAILED');
    expect(lastRun?.errorMessage).toMatch(/^The backup failed: Access Denied/);
    await rest('refused', { retention: { last: 1 } });
    proxy.fault = () => undefined;
    expect(await archivesOf('refused')).toEqual([kept]);
    expect(await bucket()).toContain(nameOf(kept?.url ?? 'none'));
  });

  test.each([
    [{}, /^pattern: the pattern must be a text\.$/],
    [{ pattern: '61 * * * *' }, /^pattern: the pattern is no cron pattern: .*0-59/],
    [{ pattern: '5' }, /^pattern: the pattern must have five fields/],
    [{ pattern: '@daily', timeZone: 'Mars/Olympus' }, /^timeZone: there is no time zone Mars\/Olympus/],
    [{ pattern: '@daily', then: 'restore' }, /^then: must be one of nothing, READ, FIT, DRILL\.$/],
    [{ pattern: '@daily', retention: { last: 0, daily: 0 } }, /^retention: this keeps nothing/],
    [{ pattern: '@daily', retention: {} }, /^retention: this keeps nothing/],
    [{ pattern: '@daily', retention: { last: -1 } }, /^retention\.last: /],
    [{ pattern: '@daily', retention: { hourly: 3 } }, /hourly/],
    [{ pattern: '@daily', owner: 'me' }, /owner/],
  ])('are not made of %j', async (body, reason) => {
    expect(await put('bad', body)).toMatchObject({
      status: 400,
      body: { reason: expect.stringMatching(reason) },
    });
    expect(await stack.call('GET', '/repo/v1/schedules/bad')).toMatchObject({ status: 404 });
  });

  test('have names, and are listed by them', async () => {
    for (const name of ['a%20b', 'x'.repeat(65), 'a%2Fb'])
      expect(await put(name, { pattern: '@daily' })).toMatchObject({ status: 400 });
    expect(await stack.call('GET', '/repo/v1/schedules', undefined, {})).toMatchObject({ status: 401 });
    expect(await stack.call('GET', '/repo/v1/schedules?limit=1')).toMatchObject({ status: 400 });
    expect(await stack.call('DELETE', '/repo/v1/schedules/none')).toMatchObject({ status: 404 });
    expect(await stack.call('GET', '/repo/v1/schedules/none/pruning')).toMatchObject({ status: 404 });
    const { body } = await stack.call<{ schedules: Schedule[] }>('GET', '/repo/v1/schedules');
    expect(body.schedules.map(({ name }) => name)).toEqual(['daily', 'lasting', 'refused', 'steady']);
  });
});

/** Loses data like a restarted Redis without an append-only file, and worse. */
async function loseAll({ env }: Stack): Promise<void> {
  const url = env['QUEUE_URL'] ?? '';
  if (url.startsWith('redis')) {
    const redis = new Redis(url);
    await redis.flushdb();
    redis.disconnect();
    return;
  }
  const tables = await sql<{ name: string }>(
    url,
    `SELECT format('%I.%I', schemaname, tablename) AS name FROM pg_tables
      WHERE schemaname = 'snapshotd_queue' AND tablename !~ 'migration'`,
  );
  await sql(url, `TRUNCATE ${tables.map(({ name }) => name).join(', ')} RESTART IDENTITY`);
}
