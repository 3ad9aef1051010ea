import { randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { parse } from 'yaml';
import type { Archive, DaemonStatus } from '#contracts';
import { freePort, type ServerProcess, startApp } from '../../dev/index.js';
import { eventually } from '../support/eventually.js';
import { type Exposition, readExposition } from '../support/exposition.js';
import { type Received, Receiver } from '../support/receiver.js';
import { oneOf, queues, servers, sql } from '../support/servers.js';
import { Stack } from '../support/stack.js';

const METRICS_TOKEN = 'metrics-token-of-this-test';
const WEBHOOK_SECRET = 'webhook-secret-of-this-test';
const HOOK_PASSWORD = 'password-of-the-hook';

const DIST = join(process.cwd(), 'dist');
const DOCS = join(process.cwd(), 'docs');
const read = (name: string) => readFileSync(join(DOCS, name), 'utf8');

/** A table whose rows no archive holds. */
const FOREIGN_TABLE = `CREATE FOREIGN DATA WRAPPER nothing; CREATE SERVER elsewhere FOREIGN DATA WRAPPER nothing;
  CREATE FOREIGN TABLE repository.remote (a int) SERVER elsewhere`;

type IsGenuine = (signature: unknown, body: string, secret: string) => boolean;

/** The function that docs/monitoring.md gives to those who write receivers. */
function documentedVerification(): IsGenuine {
  const code = /```js\n(.*?)```/s.exec(read('monitoring.md'))?.[1] ?? '';
  const file = join(servers.folder, `verification-${randomBytes(4).toString('hex')}.cjs`);
  writeFileSync(file, `${code}\nmodule.exports = isGenuine;\n`);
  return createRequire(__filename)(file) as IsGenuine;
}

describe.each(oneOf(queues, 1))('monitored on the %s queue', (_title, queueUrl) => {
  let receiver: Receiver;
  let stack: Stack;
  /** A second API beside the stack's own. */
  let replica: ServerProcess;
  let replicaUrl: string;
  beforeAll(async () => {
    receiver = await Receiver.start();
    const { host } = receiver;
    stack = await Stack.start({
      queueUrl,
      env: {
        S3_PREFIX: `monitored-${randomBytes(4).toString('hex')}/`,
        METRICS_TOKEN,
        WEBHOOK_URLS: `http://hook:${HOOK_PASSWORD}@${host}/hook, http://${host}/moved`,
        WEBHOOK_SECRET,
        DEADMAN_URL: `http://${host}/alive`,
      },
    });
    const port = String(await freePort());
    replicaUrl = `http://127.0.0.1:${port}`;
    const env = { ...stack.env, PORT: port };
    replica = await startApp({ app: 'api', name: 'replica', dist: DIST, folder: stack.folder, env });
    await replica.ready(async () => void (await fetch(`${replicaUrl}/health/live`)));
    receiver.answer = ({ path }) =>
      path === '/moved' ? { status: 302, location: '/elsewhere' } : { status: 204 };
  });
  afterAll(async () => {
    await replica.stop();
    await stack.stop();
    receiver.stop();
  });

  const isOf = ({ body }: Received, id: string) =>
    body !== '' && (JSON.parse(body) as { daemon: DaemonStatus }).daemon.id === id;
  const told = (id: string, count = 1) =>
    receiver.until(count, (request) => request.path === '/hook' && isOf(request, id));

  async function scrape(url = stack.url): Promise<Exposition> {
    const response = await fetch(`${url}/metrics`, { headers: { Authorization: `Bearer ${METRICS_TOKEN}` } });
    expect(response.status).toBe(200);
    expect(response.headers.get('content-type')).toBe('text/plain; version=0.0.4; charset=utf-8');
    return readExposition(await response.text());
  }

  test('a webhook that fails first is told again, with the same delivery, by one of two APIs, and signed', async () => {
    const answers = [500, 204];
    receiver.answer = ({ path }) =>
      path === '/moved' ? { status: 302, location: '/elsewhere' } : { status: answers.shift() ?? 204 };
    const backup = await stack.finished((await stack.startBackup()).id);
    const [first, second] = await told(backup.id, 2);
    expect([first?.status, second?.status]).toEqual([500, 204]);
    const { errorDetails, ...daemon } = backup;
    expect(errorDetails).toBeNull();
    expect(second).toMatchObject({ method: 'POST', body: first?.body });
    expect(second?.body).toBe(JSON.stringify({ event: 'daemon.completed', daemon }));
    expect(second?.headers).toMatchObject({
      'content-type': 'application/json',
      'snapshotd-event': 'daemon.completed',
      'snapshotd-delivery': first?.headers['snapshotd-delivery'],
      authorization: `Basic ${Buffer.from(`hook:${HOOK_PASSWORD}`).toString('base64')}`,
    });

    const isGenuine = documentedVerification();
    const { 'snapshotd-signature': signature } = second?.headers ?? {};
    const body = second?.body ?? '';
    expect(isGenuine(signature, body, WEBHOOK_SECRET)).toBe(true);
    expect(isGenuine(signature, `${body} `, WEBHOOK_SECRET)).toBe(false);
    expect(isGenuine(signature, body, `${WEBHOOK_SECRET}!`)).toBe(false);
    expect(isGenuine(`t=1,v1=${'0'.repeat(64)}`, body, WEBHOOK_SECRET)).toBe(false);
    expect(isGenuine(undefined, body, WEBHOOK_SECRET)).toBe(false);
  });

  test('a backup that omits contents says so in its message, to webhooks, in metrics and in the list of archives', async () => {
    const database = stack.env['DATABASE_URL'] ?? '';
    await sql(database, FOREIGN_TABLE);
    const backup = await stack.finished((await stack.startBackup()).id);
    // Stacks of tests dump no schema definitions.
    const omissions = [
      expect.objectContaining({ kind: 'definitions', count: 1 }),
      {
        kind: 'foreignTableRows',
        count: 1,
        what: 'rows of repository.remote',
        why: 'a foreign table: its rows are on another server',
      },
    ];
    expect(backup).toMatchObject({
      status: 'COMPLETED',
      progresssMessage: 'Finished: BACKUP (omitted: schema definitions, rows of 1 foreign table)',
      omissions,
    });
    const [webhook] = await told(backup.id);
    expect(JSON.parse(webhook?.body ?? '')).toMatchObject({ daemon: { omissions } });
    const { value } = await scrape();
    expect(value('snapshotd_backup_omissions', { kind: 'foreignTableRows' })).toBe(1);
    expect(value('snapshotd_backup_omissions', { kind: 'schema' })).toBe(0);
    const list = await stack.call<{ backups: Archive[] }>('GET', '/repo/v1/backups?limit=1');
    expect(list.body.backups).toMatchObject([{ url: backup.backupUrl, omissions, warnings: [] }]);
    for (const options of [{}, { level: 'READ' }]) {
      const url = backup.backupUrl;
      const verify = await stack.call<DaemonStatus>('POST', '/repo/v1/startVerifyDaemon', {
        url,
        ...options,
      });
      expect(await stack.finished(verify.body.id)).toMatchObject({
        progresssMessage: 'Finished: VERIFY (the archive omits: schema definitions, rows of 1 foreign table)',
        omissions,
      });
    }
    await sql(database, 'DROP FOREIGN DATA WRAPPER nothing CASCADE');
  });

  test('a failed job is notified too, without its stack', async () => {
    const { body } = await stack.call<DaemonStatus>('POST', '/repo/v1/startVerifyDaemon', { url: 'no.zip' });
    const failed = await stack.finished(body.id);
    expect(failed.errorDetails).toContain('STORE_OBJECT_MISSING');
    const [request] = await told(body.id);
    expect(request?.headers).toMatchObject({ 'snapshotd-event': 'daemon.failed' });
    expect(JSON.parse(request?.body ?? '')).toEqual({
      event: 'daemon.failed',
      daemon: JSON.parse(JSON.stringify({ ...failed, errorDetails: undefined })),
    });
  });

  test('a redirect is tried again and not followed', async () => {
    await receiver.until(2, ({ path }) => path === '/moved');
    expect(receiver.received.filter(({ path }) => path === '/elsewhere')).toEqual([]);
  });

  test('each verified backup of a schedule, and no other, calls DEADMAN_URL', async () => {
    expect(receiver.received.filter(({ path }) => path === '/alive')).toEqual([]);
    const path = '/repo/v1/schedules/nightly';
    const body = { pattern: '* * * * * *', then: 'verify' };
    expect(await stack.call('PUT', path, body)).toMatchObject({ status: 201 });
    const [ping] = await receiver.until(1, (request) => request.path === '/alive');
    expect(ping).toMatchObject({ method: 'GET', body: '' });
    await stack.call('PUT', path, { ...body, enabled: false });
    await eventually(async () => {
      const { lastRun } = (await stack.call<{ lastRun: { status: string } }>('GET', path)).body;
      return lastRun.status !== 'IN_PROGRESS';
    });
    const list = await stack.call<{ daemons: DaemonStatus[] }>('GET', '/repo/v1/daemons?type=VERIFY');
    const verified = list.body.daemons.filter(({ startedBy }) => startedBy === 'schedule nightly');
    const pings = await receiver.until(verified.length, (request) => request.path === '/alive');
    expect(pings).toHaveLength(verified.length);
  });

  test('jobs that end while no API runs are notified when one starts, each once', async () => {
    for (const worker of stack.workers.splice(0)) await worker.stop();
    const { id } = await stack.startBackup();
    for (const api of [stack.api, replica]) {
      api.signal('SIGKILL');
      await api.ended();
      await api.stop();
    }
    await stack.startWorker();
    await eventually(() => stack.logs().includes(`"daemon":"${id}","type":"BACKUP","attempt":1,"archive"`));
    const start = (name: string, env: Record<string, string>) =>
      startApp({ app: 'api', name, dist: DIST, folder: stack.folder, env });
    [stack.api, replica] = await Promise.all([
      start('api', stack.env),
      start('replica', { ...stack.env, PORT: new URL(replicaUrl).port }),
    ]);
    await stack.untilReady();
    await told(id);
    // A later job is notified after it, and by then both APIs have looked.
    const later = await stack.finished((await stack.startBackup()).id);
    await told(later.id);
    const accepted = receiver.received.filter(({ path, status }) => path === '/hook' && status === 204);
    // Counted by job: two deliveries of one end would have different ids.
    const daemons = accepted.map(({ body }) => (JSON.parse(body) as { daemon: DaemonStatus }).daemon.id);
    expect(daemons.length).toBeGreaterThanOrEqual(6);
    expect(new Set(daemons).size).toBe(daemons.length);
  });

  test('metrics are for a token, a key that reads, and administrators, and the token is for nothing else', async () => {
    const ask = async (path: string, headers: Record<string, string>) =>
      (await stack.call('GET', path, undefined, headers)).status;
    const key = await stack.call<{ key: string }>('POST', '/auth/v1/keys', {
      name: 'scraper',
      scope: 'read',
    });
    expect(await ask('/metrics', {})).toBe(401);
    expect(await ask('/metrics', { authorization: `Bearer ${METRICS_TOKEN}x` })).toBe(401);
    expect(await ask('/metrics', { authorization: `Bearer ${METRICS_TOKEN}` })).toBe(200);
    expect(await ask('/metrics', { authorization: `Bearer ${key.body.key}` })).toBe(200);
    expect(await ask('/metrics', { sessionToken: stack.sessionToken })).toBe(200);
    expect(await ask('/repo/v1/daemons', { authorization: `Bearer ${METRICS_TOKEN}` })).toBe(401);
  });

  test('metrics follow the format of Prometheus and are the same on each API', async () => {
    const { body: list } = await stack.call<{ daemons: DaemonStatus[]; total: number }>(
      'GET',
      '/repo/v1/daemons?type=BACKUP&status=COMPLETED',
    );
    const last = list.daemons[0];
    const { body: archives } = await stack.call<{ backups: { url: string; bytes: number }[] }>(
      'GET',
      '/repo/v1/backups',
    );
    const { metrics, samples, value } = await scrape();
    const bytes = archives.backups.find(({ url }) => url === last?.backupUrl)?.bytes;
    const backup = { type: 'BACKUP' };
    expect({
      queue: value('snapshotd_queue_up'),
      database: value('snapshotd_database_up'),
      completed: value('snapshotd_daemons', { ...backup, status: 'COMPLETED' }),
      failed: value('snapshotd_daemons', { type: 'VERIFY', status: 'FAILED' }),
      restores: value('snapshotd_daemons', { type: 'RESTORE', status: 'COMPLETED' }),
      seconds: value('snapshotd_daemon_last_duration_seconds', backup),
      bytes: value('snapshotd_daemon_last_bytes', backup),
      restored: value('snapshotd_daemon_last_bytes', { type: 'RESTORE' }),
      failure: value('snapshotd_daemon_last_failed', backup),
      waiting: value('snapshotd_queue_waiting_daemons'),
      active: value('snapshotd_queue_active_daemons'),
      waits: value('snapshotd_queue_oldest_waiting_age_seconds'),
      enabled: value('snapshotd_schedule_enabled', { schedule: 'nightly' }),
      verifies: value('snapshotd_schedule_verifies', { schedule: 'nightly' }),
      read: value('snapshotd_verification_last_age_seconds', { level: 'READ' }),
      drilled: value('snapshotd_verification_last_age_seconds', { level: 'DRILL' }),
      drill: value('snapshotd_drill_duration_seconds'),
    }).toEqual({
      queue: 1,
      database: 1,
      completed: list.total,
      failed: 1,
      restores: 0,
      seconds: (last?.totalTimeMS ?? 0) / 1_000,
      bytes,
      restored: undefined,
      failure: 0,
      waiting: 0,
      active: 0,
      waits: 0,
      enabled: 0,
      verifies: 1,
      read: expect.any(Number),
      drilled: undefined,
      drill: undefined,
    });
    const entities = value('snapshotd_daemon_last_entities', backup) ?? 0;
    expect(entities + Math.floor(entities / 10)).toBe(last?.progresssTotal);

    const { body: schedule } = await stack.call<{ lastCompletedOn: number; lastVerifiedOn: number }>(
      'GET',
      '/repo/v1/schedules/nightly',
    );
    const completedAge =
      value('snapshotd_schedule_last_completed_age_seconds', { schedule: 'nightly' }) ?? -1;
    const verifiedAge = value('snapshotd_schedule_last_verified_age_seconds', { schedule: 'nightly' }) ?? -1;
    expect(completedAge).toBeGreaterThan(0);
    expect(completedAge).toBeLessThanOrEqual((Date.now() - schedule.lastCompletedOn) / 1_000);
    expect(completedAge - verifiedAge).toBeCloseTo(
      (schedule.lastVerifiedOn - schedule.lastCompletedOn) / 1_000,
      2,
    );

    const requests = { method: 'GET', route: '/repo/v1/daemonStatus/:id', status: '200' };
    expect(value('snapshotd_http_request_duration_seconds_count', requests)).toBeGreaterThan(0);
    for (const [name, type] of metrics) {
      expect(name).toMatch(/^(snapshotd|process|nodejs)_/);
      // A histogram's and a gauge's may not, a counter's must.
      expect({ name, counter: name.endsWith('_total') }).toEqual({ name, counter: type === 'counter' });
    }

    const shared = (all: typeof samples) =>
      all.filter(({ name }) => /^snapshotd_(daemon|queue|schedule_(enabled|verifies))/.test(name));
    expect(shared((await scrape(replicaUrl)).samples)).toEqual(shared(samples));
  });

  test('a schedule that never ran has no ages, and one that waits shows', async () => {
    await stack.call('PUT', '/repo/v1/schedules/never', { pattern: '0 0 29 2 *' });
    for (const worker of stack.workers.splice(0)) await worker.stop();
    await stack.startBackup();
    const { value } = await scrape();
    expect(value('snapshotd_schedule_enabled', { schedule: 'never' })).toBe(1);
    expect(value('snapshotd_schedule_last_completed_age_seconds', { schedule: 'never' })).toBeUndefined();
    expect(value('snapshotd_schedule_last_verified_age_seconds', { schedule: 'never' })).toBeUndefined();
    expect(value('snapshotd_daemons', { type: 'BACKUP', status: 'STARTED' })).toBe(1);
    expect(value('snapshotd_queue_waiting_daemons')).toBe(1);
    expect(value('snapshotd_queue_oldest_waiting_age_seconds')).toBeGreaterThan(0);
  });

  test('each metric that the alert rules and the dashboard name is there', async () => {
    const { metrics, samples } = await scrape();
    const there = new Set(['up', ...samples.map(({ name }) => name)]);
    const rules = parse(read('monitoring/alerts.yml')) as { groups: { rules: { expr: string }[] }[] };
    const dashboard = JSON.parse(read('monitoring/grafana-dashboard.json')) as {
      panels: { targets: { expr: string }[] }[];
    };
    const expressions = [
      ...rules.groups.flatMap((group) => group.rules.map(({ expr }) => expr)),
      ...dashboard.panels.flatMap(({ targets }) => targets.map(({ expr }) => expr)),
    ];
    expect(expressions.length).toBeGreaterThan(20);
    const named = expressions.flatMap((expr) => expr.match(/\b(snapshotd|process|nodejs)_\w+|\bup\b/g) ?? []);
    expect([...new Set(named)].filter((name) => !there.has(name))).toEqual([]);
    const documented = read('monitoring.md').match(/\bsnapshotd_[a-z_]+/g) ?? [];
    // A histogram's name has no sample, and there was no drill.
    const families = [...there, ...metrics.keys(), 'snapshotd_drill_duration_seconds'];
    expect(documented.filter((name) => !families.includes(name))).toEqual([]);
  });

  test('logs contain no secrets, and only the origin of a URL', () => {
    const logs = stack.logs();
    expect(logs).toContain(`http://${receiver.host} answered 302. Redirects are not followed.`);
    for (const secret of [METRICS_TOKEN, WEBHOOK_SECRET, HOOK_PASSWORD, '/hook', '/moved', '/alive'])
      expect(logs).not.toContain(secret);
  });
});
