import { randomBytes } from 'node:crypto';
import { hostname } from 'node:os';
import { buffer } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { Secret } from '#config';
import type { DaemonStatus, ScheduleView } from '#contracts';
import { Keys } from '#keys';
import { verificationRecord } from '#engine';
import { eventually } from '../support/eventually.js';
import { readExposition } from '../support/exposition.js';
import { S3Proxy, type S3Request } from '../support/s3-proxy.js';
import { openStore, putBytes, servers, sql } from '../support/servers.js';
import { Stack } from '../support/stack.js';

interface Pruning {
  keep: { name: string; createdOn: number; because: string[] }[];
  delete: { name: string; createdOn: number }[];
}
interface AuditEvents {
  events: { account: string; action: string; subject: string; outcome: string; address: string }[];
}

const EACH_SECOND = '* * * * * *';
const FAR_AWAY = '0 0 29 2 *';
const never = new AbortController().signal;

describe('the pruning of a schedule', () => {
  const prefix = `pruned-${randomBytes(4).toString('hex')}/`;
  const store = openStore(servers.s3);
  let proxy: S3Proxy;
  let stack: Stack;
  let bytes: Buffer;
  beforeAll(async () => {
    proxy = await S3Proxy.to(servers.s3.endpoint);
    stack = await Stack.start({ env: { S3_ENDPOINT: proxy.url, S3_PREFIX: prefix } });
    const { backupUrl } = await stack.finished((await stack.startBackup()).id);
    const object = await store.open(prefix + nameOf(backupUrl), never);
    bytes = object === undefined ? Buffer.alloc(0) : await buffer(object.read(0, object.length));
  });
  afterEach(() => {
    proxy.fault = () => undefined;
  });
  afterAll(async () => {
    await stack.stop();
    store.close();
    await proxy.close();
  });

  const change = <Row extends object>(text: string, values: unknown[] = []) =>
    sql<Row>(stack.env['DATABASE_URL'] ?? '', text, values);
  const put = (name: string, more: object) =>
    stack.call('PUT', `/repo/v1/schedules/${name}`, { pattern: FAR_AWAY, then: 'nothing', ...more });
  const lastRun = async (name: string) =>
    (await stack.call<{ lastRun: { status: string } | null }>('GET', `/repo/v1/schedules/${name}`)).body
      .lastRun;
  const dryRun = async (name: string) =>
    (await stack.call<Pruning>('GET', `/repo/v1/schedules/${name}/pruning`)).body;
  const isThere = async (name: string) => (await store.open(prefix + name, never)) !== undefined;
  const onRecord = async (schedule: string) =>
    (
      await change<{ url: string }>('SELECT url FROM snapshotd.schedule_archive WHERE schedule = $1', [
        schedule,
      ])
    ).map(({ url }) => nameOf(url));

  /** Archives that a schedule has made on the first days of a year long ago. */
  async function made(schedule: string, ...names: string[]): Promise<void> {
    for (const [index, name] of names.entries()) {
      await putBytes(prefix + name, bytes);
      await change(
        `INSERT INTO snapshotd.schedule_archive (url, key, schedule, daemon, created_on, completed_on)
         VALUES ($1, $2, $3, '0', $4, $4)`,
        [`${proxy.url}/archives/${prefix}${name}`, prefix + name, schedule, `2020-01-0${index + 1}`],
      );
    }
  }

  /**
   * Lets a schedule run once, or a little oftener.
   * @param atFirstDelete is done while the first request to delete waits
   */
  async function run(name: string, more: object, atFirstDelete?: () => Promise<unknown>): Promise<void> {
    const begin = async () => {
      await put(name, { pattern: EACH_SECOND, ...more });
      await eventually(() => lastRun(name));
      await put(name, more);
    };
    const begun = begin();
    if (atFirstDelete !== undefined)
      await new Promise((resolve, reject) => {
        begun.catch(reject);
        proxy.fault = async ({ operation }: S3Request) => {
          if (operation !== 'DeleteObject') return undefined;
          proxy.fault = () => undefined;
          await begun.then(atFirstDelete).then(resolve, reject);
          return undefined;
        };
      });
    await begun;
    await eventually(async () => (await lastRun(name))?.status !== 'IN_PROGRESS');
    expect(await lastRun(name)).toMatchObject({ status: 'COMPLETED', errorMessage: null });
  }

  test('keeps the newest verified archive of the bucket, even if an API key or a user verified it', async () => {
    await put('proved', { retention: { last: 1 }, enabled: false });
    await made('proved', 'by-hand.zip', 'doubted.zip', 'replaced.zip', 'unread.zip', 'newest.zip');
    for (const url of ['by-hand.zip', 'replaced.zip']) {
      const { body } = await stack.call<DaemonStatus>('POST', '/repo/v1/startVerifyDaemon', { url });
      expect(await stack.finished(body.id)).toMatchObject({ status: 'COMPLETED' });
    }
    const damaged = Buffer.from(bytes);
    damaged.writeUInt8(damaged.readUInt8(100) ^ 1, 100);
    await putBytes(`${prefix}replaced.zip`, damaged);
    // Verified by the schedule, and found unfit since.
    await change(
      `UPDATE snapshotd.schedule_archive SET verified_on = completed_on, verified_by = 'READ' WHERE key = $1`,
      [`${prefix}doubted.zip`],
    );
    const record = verificationRecord(
      new Keys([new Secret(Stack.secretKey)]),
      (await store.find(`${prefix}doubted.zip`, never)) ?? { key: '', bytes: 0, etag: '', modifiedOn: 0 },
      { restorable: false, level: 'FIT', daemonId: '7', verifiedAt: new Date().toISOString() },
    );
    await putBytes(`${prefix}doubted.zip.verified.json`, Buffer.from(JSON.stringify(record)));
    expect(await dryRun('proved')).toMatchObject({
      keep: [
        { name: 'newest.zip', because: ['last'] },
        { name: 'by-hand.zip', because: ['newest verified'] },
      ],
      delete: [{ name: 'unread.zip' }, { name: 'replaced.zip' }, { name: 'doubted.zip' }],
    });
    await run('proved', { retention: { last: 1 } });
    expect(
      await Promise.all(['by-hand.zip', 'doubted.zip', 'unread.zip', 'newest.zip'].map(isThere)),
    ).toEqual([true, false, false, false]);
  });

  test('deletes nothing while its backups lack rows, until somebody confirms that', async () => {
    const retention = { last: 1 };
    const view = async () => (await stack.call<ScheduleView>('GET', '/repo/v1/schedules/lossy')).body;
    const figure = async () => {
      const { sessionToken } = stack;
      const metrics = await fetch(`${stack.url}/metrics`, { headers: { sessionToken } });
      const { value } = readExposition(await metrics.text());
      return value('snapshotd_schedule_unconfirmed_loss_age_seconds', { schedule: 'lossy' });
    };
    await change('CREATE TABLE repository.lots AS SELECT generate_series(1, 2000) AS a');
    await run('lossy', { retention });
    expect([(await view()).lostRowsSince, await figure()]).toEqual([null, 0]);
    const whole = await onRecord('lossy');

    await change('DELETE FROM repository.lots');
    await put('lossy', { retention, pattern: EACH_SECOND });
    await eventually(async () => (await view()).lostRowsSince !== null);
    await put('lossy', { retention });
    await eventually(async () => (await view()).lastRun?.status !== 'IN_PROGRESS');
    const lossy = await view();
    expect(lossy.lastRun?.status).toBe('COMPLETED');
    expect(await stack.status(lossy.lastRun?.daemonId ?? '')).toMatchObject({
      status: 'COMPLETED',
      progresssMessage: expect.stringContaining('warning: Rows are missing since the archive') as string,
      shrunk: { tables: [{ schema: 'repository', name: 'lots', before: 2000, after: 0 }] },
    });
    expect(await figure()).toBeGreaterThan(0);
    const held = await dryRun('lossy');
    expect(held.delete).toEqual([]);
    expect(held.keep.at(-1)?.because).toEqual([expect.stringMatching(/^rows are missing since 20/)]);
    expect(await Promise.all(whole.map(isThere))).toEqual(whole.map(() => true));

    expect((await stack.call('POST', '/repo/v1/schedules/none/confirm')).status).toBe(404);
    expect(await stack.call('POST', '/repo/v1/schedules/lossy/confirm', {})).toMatchObject({
      status: 200,
      body: { name: 'lossy', lostRowsSince: null },
    });
    const { events } = (await stack.call<AuditEvents>('GET', '/repo/v1/audit?limit=100')).body;
    expect(events).toContainEqual(
      expect.objectContaining({ action: 'schedule.confirm', subject: 'lossy', outcome: '200' }),
    );
    // The next backup is compared with the confirmed one.
    await put('lossy', { retention, pattern: EACH_SECOND });
    await eventually(async () => !(await Promise.all(whole.map(isThere))).includes(true));
    await put('lossy', { retention });
    expect((await view()).lostRowsSince).toBeNull();
    await change('DROP TABLE repository.lots');
  });

  test('counts an archive that was taken in the future as taken when it was uploaded', async () => {
    await put('early', { retention: { last: 1, daily: 1 }, enabled: false });
    const uploadedFrom = Math.floor(Date.now() / 1_000) * 1_000;
    await made('early', 'from-the-future.zip');
    await sleep(1_100);
    await made('early', 'newest.zip');
    await change(
      `UPDATE snapshotd.schedule_archive
          SET created_on = CASE key WHEN $1 THEN now() + interval '400 days' ELSE now() END WHERE schedule = 'early'`,
      [`${prefix}from-the-future.zip`],
    );
    const plan = await dryRun('early');
    expect(plan).toMatchObject({
      keep: [{ name: 'newest.zip', because: ['last', expect.stringMatching(/^daily /)] }],
      delete: [{ name: 'from-the-future.zip' }],
    });
    for (const { createdOn } of [...plan.keep, ...plan.delete])
      expect(createdOn >= uploadedFrom && createdOn <= Date.now()).toBe(true);
  });

  test('is in the audit, and so is the backup before it', async () => {
    const { body } = await stack.call<AuditEvents>(
      'GET',
      '/repo/v1/audit?account=schedule%20proved&limit=100',
    );
    const of = { account: 'schedule proved', address: hostname() };
    for (const name of ['newest.zip', 'unread.zip', 'doubted.zip'])
      expect(body.events).toContainEqual(
        expect.objectContaining({ ...of, action: 'archive.delete', subject: name, outcome: '204' }),
      );
    expect(body.events).toContainEqual(
      expect.objectContaining({
        ...of,
        action: 'backup.start',
        subject: expect.stringMatching(/^\d+$/),
        outcome: '201',
      }),
    );
  });

  test('never touches objects outside the prefix, even if they are on record', async () => {
    const [outside, url] = [`other-${prefix}far.zip`, `${proxy.url}/archives/other-${prefix}far.zip`];
    await put('fenced', { retention: { last: 1 }, enabled: false });
    await made('fenced', 'near.zip');
    await putBytes(outside, bytes);
    await change(
      `INSERT INTO snapshotd.schedule_archive (url, key, schedule, daemon, created_on, completed_on)
       VALUES ($1, $2, 'fenced', '0', '2019-01-01', '2019-01-01')`,
      [url, outside],
    );
    expect(await dryRun('fenced')).toMatchObject({
      keep: [{ name: 'near.zip' }, { name: url, because: ['not below S3_PREFIX'] }],
      delete: [],
    });
    await run('fenced', { retention: { last: 1 } });
    expect(await isThere('near.zip')).toBe(false);
    expect(await store.open(outside, never)).toBeDefined();
    expect(await onRecord('fenced')).toContain('far.zip');
  });

  test('stops when the retention changes', async () => {
    await put('changed', { retention: { last: 1 }, enabled: false });
    await made('changed', 'changed-1.zip', 'changed-2.zip', 'changed-3.zip');
    await run('changed', { retention: { last: 1 } }, () => put('changed', { retention: { last: 9 } }));
    expect(await Promise.all(['changed-1.zip', 'changed-2.zip', 'changed-3.zip'].map(isThere))).toEqual([
      true,
      true,
      false,
    ]);
  });

  test('keeps archives that a job needs by now, and forgets archives that somebody else deleted', async () => {
    await put('needed', { retention: { last: 1 }, enabled: false });
    await made('needed', 'lost.zip', 'deleted.zip', 'wanted.zip', 'unwanted.zip');
    await store.delete(`${prefix}lost.zip`);
    expect(await stack.call('DELETE', '/repo/v1/backups/deleted.zip')).toMatchObject({ status: 204 });
    expect((await onRecord('needed')).sort()).toEqual(['lost.zip', 'unwanted.zip', 'wanted.zip']);
    await run('needed', { retention: { last: 1 } }, async () => {
      for (const worker of stack.workers.splice(0)) await worker.stop();
      await stack.call('POST', '/repo/v1/startVerifyDaemon', { url: 'wanted.zip' });
    });
    expect(await isThere('wanted.zip')).toBe(true);
    expect(await isThere('unwanted.zip')).toBe(false);
    const left = await onRecord('needed');
    expect(left).toContain('wanted.zip');
    expect(left).not.toContain('lost.zip');
  });
});

function nameOf(url: string | null): string {
  return url?.split('/').at(-1) ?? '';
}
