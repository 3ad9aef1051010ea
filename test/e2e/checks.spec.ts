import type { DaemonStatus, RepositoryCheck, RestorePreview } from '#contracts';
import { Session, takeRepositoryLock } from '#postgres';
import { CommandLine } from '../support/command-line.js';
import { eventually } from '../support/eventually.js';
import { Forger } from '../support/forger.js';
import { newDatabase, oneOf, queues, sql } from '../support/servers.js';
import { Stack } from '../support/stack.js';

/** A stack without a worker. Its check waits for 20 seconds, beside the other tests. */
let idle: Stack;
let unanswered: Promise<{ status: number; body: DaemonStatus }>;
beforeAll(async () => {
  idle = await Stack.start({ workers: 0 });
  unanswered = idle.call<DaemonStatus>('POST', '/repo/v1/check', {});
});
afterAll(() => idle.stop());

describe.each(oneOf(queues, 1))('with the queue in %s', (_title, queueUrl) => {
  let stack: Stack;
  let user: CommandLine;
  let url: string;
  let archive: string;

  beforeAll(async () => {
    url = await newDatabase();
    await sql(
      url,
      `CREATE SCHEMA s; CREATE TABLE s.t AS SELECT i FROM generate_series(1, 1000) i; ANALYZE s.t`,
    );
    stack = await Stack.start({
      queueUrl,
      env: { REPOSITORY_URL: url, REPOSITORY_SCHEMAS: 's', WORKER_CONCURRENCY: '1' },
    });
    user = new CommandLine({ SNAPSHOTD_URL: stack.url, SNAPSHOTD_TOKEN: stack.sessionToken });
    const { id } = await stack.startBackup();
    archive = (await stack.finished(id)).backupUrl ?? '';
  });
  afterAll(() => stack.stop());

  test('a worker checks its default repository at its start, and later as often as asked', async () => {
    const newest = await eventually(async () => {
      const { status, body } = await stack.call<RepositoryCheck>('GET', '/repo/v1/check');
      return status === 200 ? body : undefined;
    });
    const [database, port] = [new URL(url).pathname.slice(1), new URL(url).port];
    expect(newest).toMatchObject({ repository: 'default', target: { database, port }, estimatedRows: 1_000 });
    const answer = await stack.call<RepositoryCheck>('POST', '/repo/v1/check', {});
    expect(answer).toMatchObject({ status: 200, body: { target: { database, port } } });
    expect(answer.body.checkedOn).toBeGreaterThan(newest.checkedOn);
    expect(await stack.ask('GET', '/repo/v1/check?repository=default')).toEqual(answer.body);

    // The history has the job, without the result in lists, and beside the other jobs.
    const { daemons } = await stack.ask<{ daemons: DaemonStatus[] }>('GET', '/repo/v1/daemons?type=CHECK');
    const [job] = daemons;
    expect(job).toMatchObject({ type: 'CHECK', status: 'COMPLETED', backupUrl: null });
    expect(job).not.toHaveProperty('check');
    expect(await stack.status(job?.id ?? '')).toMatchObject({ check: answer.body });
    expect(await stack.ask('GET', '/repo/v1/daemons')).toMatchObject({ total: 1 });

    const { code, stdout } = await user.run(['check']);
    expect({ code, stdout }).toMatchObject({
      code: 0,
      stdout: expect.stringContaining(`${database} at`) as string,
    });
    expect(stdout).toMatch(/^WARNING +role +The role \w+ is a superuser/m);
    expect(JSON.parse((await user.run(['check', '--last', '--json'])).stdout)).toMatchObject({
      target: { database },
    });
  });

  test('a plan names what a restore would replace, and changes nothing', async () => {
    const plan = await stack.ask<RestorePreview>('POST', '/repo/v1/restorePlan', { url: archive });
    const { hostname, port, pathname } = new URL(url);
    const summary = `Replaces 1 table, 1,000 rows, in ${pathname.slice(1)} at ${hostname}:${port}`;
    expect(plan).toMatchObject({ summary, refusals: [], rows: { archive: 1_000, estimatedNow: 1_000 } });
    const dry = await user.run(['restore', archive, '--dry-run']);
    expect(dry).toMatchObject({ code: 0, stdout: expect.stringContaining(summary) as string });
    expect(dry.stdout).toMatch(/^s\.t +1,000 +1,000$/m);

    const refused = await user.run(['restore', archive, '--dry-run', '--table', 's.none']);
    expect(refused.code).toBe(1);
    expect(refused.stdout).toMatch(/^REFUSED +This cannot be restored: the archive holds no table s\.none/m);
    const foreign = await stack.call('POST', '/repo/v1/restorePlan', {
      url: 'https://elsewhere.example/a.zip',
    });
    expect(foreign.status).toBe(400);
    expect(await stack.ask('GET', '/repo/v1/daemons')).toMatchObject({ total: 1 });
  });

  test('a worker that is busy with a backup answers a check', async () => {
    const session = await Session.open(url, { applicationName: 'holder' });
    const signal = new AbortController().signal;
    await takeRepositoryLock(session, 'exclusive', { timeoutMs: 5_000, onWait: () => undefined, signal });
    const { id } = await stack.startBackup();
    try {
      const waits = ({ progresssMessage }: DaemonStatus) => /lock/.test(progresssMessage);
      expect((await stack.watch(id, waits)).at(-1)).toMatchObject({ status: 'IN_PROGRESS' });
      expect((await stack.call('POST', '/repo/v1/check', {})).status).toBe(200);
      expect((await stack.call('POST', '/repo/v1/restorePlan', { url: archive })).status).toBe(200);
      expect((await stack.status(id)).status).toBe('IN_PROGRESS');
    } finally {
      await session.close();
    }
    expect((await stack.finished(id)).status).toBe('COMPLETED');
  });

  test('any repository can be checked, and an unknown one is refused', async () => {
    const empty = await newDatabase();
    await stack.call('PUT', '/repo/v1/repositories/crm', { url: empty });
    expect((await stack.call('GET', '/repo/v1/check?repository=crm')).status).toBe(404);
    const { findings, target } = await stack.ask<RepositoryCheck>('POST', '/repo/v1/check', {
      repository: 'crm',
    });
    expect(target?.database).toBe(new URL(empty).pathname.slice(1));
    expect(findings).toContainEqual(
      expect.objectContaining({ message: 'The repository is empty: it has no tables (0 rows).' }),
    );
    expect(await stack.ask('GET', '/repo/v1/check?repository=crm')).toMatchObject({ repository: 'crm' });
    expect((await stack.call('POST', '/repo/v1/check', { repository: 'none' })).status).toBe(400);
    const into = await stack.ask<RestorePreview>('POST', '/repo/v1/restorePlan', {
      url: archive,
      repository: 'crm',
    });
    expect(into.refusals.map(({ code }) => code)).toContain('OTHER_DATABASE');
    expect(into.summary).toContain(`in ${target?.database} at `);
  });

  test('a check that nobody has signed is not made', async () => {
    const forger = await Forger.at(stack.env['QUEUE_URL'] ?? '');
    try {
      const id = `check-${Date.now()}-0123abcd`;
      const data = { startedBy: 'mallory', startedOn: Date.now(), nonce: 'x' };
      await forger.checks.add('CHECK', data, { jobId: id });
      const status = await stack.finished(id);
      expect(status).toMatchObject({
        status: 'FAILED',
        errorMessage: expect.stringContaining('not authentic') as string,
      });
    } finally {
      await forger.close();
    }
  });
});

test('without a worker, a check answers with the id of its job, which a later worker does', async () => {
  const { status, body } = await unanswered;
  expect({ status, body }).toMatchObject({ status: 202, body: { type: 'CHECK', status: 'STARTED' } });
  await idle.startWorker();
  expect(await idle.finished(body.id)).toMatchObject({
    status: 'COMPLETED',
    check: { repository: 'default' },
  });
});
