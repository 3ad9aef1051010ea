import { randomBytes } from 'node:crypto';
import { hostname } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { PRODUCT } from '#common';
import type {
  DaemonStatus,
  DatabaseIdentity,
  MissingWorker,
  RepositoryIdentity,
  WorkerView,
} from '#contracts';
import type { ServerProcess } from '../../dev/index.js';
import { EventStream } from '../support/event-stream.js';
import { eventually } from '../support/eventually.js';
import { readExposition } from '../support/exposition.js';
import { Forger } from '../support/forger.js';
import { newDatabase, oneOf, queues, servers, sql } from '../support/servers.js';
import { Stack } from '../support/stack.js';

const TABLE = 'CREATE SCHEMA s; CREATE TABLE s.t (v text)';

async function identityOf(url: string): Promise<DatabaseIdentity> {
  const [identity] = await sql<DatabaseIdentity & Record<string, unknown>>(
    url,
    `SELECT (SELECT system_identifier::text FROM pg_control_system()) AS "systemIdentifier",
            oid::int8::float8 AS "databaseOid", datname AS "databaseName"
       FROM pg_database WHERE datname = current_database()`,
  );
  if (identity === undefined) throw new Error('There is no database');
  return identity;
}

describe.each(oneOf(queues, 0))('on the %s queue', (_title, queueUrl) => {
  let here: string;
  let there: string;
  let stack: Stack;

  beforeEach(async () => {
    [here, there] = [await newDatabase(), await newDatabase()];
    await sql(here, `${TABLE}; INSERT INTO s.t VALUES ('here')`);
    await sql(there, `${TABLE}; INSERT INTO s.t VALUES ('there')`);
    stack = await Stack.start({
      queueUrl,
      workers: 0,
      env: {
        REPOSITORY_URL: here,
        REPOSITORY_SCHEMAS: 's',
        S3_PREFIX: `workers-${randomBytes(4).toString('hex')}/`,
      },
    });
  });
  afterEach(() => stack.stop());

  const workers = async () =>
    (await stack.call<{ workers: WorkerView[] }>('GET', '/repo/v1/workers')).body.workers;
  const missing = async () =>
    (await stack.call<{ missing: MissingWorker[] }>('GET', '/repo/v1/workers')).body.missing;
  /** The metrics of workers: all, those that run a job, those that are missing. */
  const counts = async () => {
    const { value } = readExposition((await stack.call<string>('GET', '/metrics')).body);
    return ['', '_busy', '_missing'].map((what) => value(`snapshotd_workers${what}`));
  };
  const recorded = async () =>
    (await stack.call<RepositoryIdentity>('GET', '/repo/v1/repository/identity')).body;
  /** Waits until the list of workers meets a condition. */
  async function until(fits: (workers: WorkerView[]) => boolean): Promise<WorkerView[]> {
    return eventually(async () => {
      const now = await workers();
      return fits(now) && now;
    }, 50);
  }
  async function run(type: string, body: object): Promise<DaemonStatus> {
    const { body: started } = await stack.call<DaemonStatus>('POST', `/repo/v1/start${type}Daemon`, body);
    return stack.finished(started.id);
  }
  async function workerOf(url: string): Promise<ServerProcess> {
    stack.env['REPOSITORY_URL'] = url;
    return stack.startWorker();
  }

  test('a running worker is listed with its rights; the open route shows no names', async () => {
    expect(await workers()).toEqual([]);
    expect((await recorded()).identity).toBeNull();
    const worker = await workerOf(here);
    const [first] = await until(({ length }) => length > 0);
    const identity = await identityOf(here);
    expect(first).toMatchObject({
      host: hostname(),
      version: PRODUCT.version,
      node: process.versions.node,
      // The test's server is newer than Debian's pg_dump.
      pgDump: { version: '18.3', source: 'bundled' },
      jobs: [],
      concurrency: 1,
      repositories: null,
      role: 'snapshotd',
      superuser: true,
      identity,
      takesJobs: true,
      warnings: [{ kind: 'SUPERUSER', level: 'warning' }],
    });
    expect(Math.abs(Date.now() - (first?.lastBeatOn ?? 0))).toBeLessThan(20_000);
    await worker.logs('The role snapshotd is a superuser');
    expect(await recorded()).toMatchObject({ identity, predecessors: [], problem: null });

    const ready = await stack.call<object>('GET', '/health/ready', undefined, {});
    expect(ready.body).toEqual({
      status: 'up',
      database: 'up',
      queue: 'up',
      bucket: 'up',
      workers: { count: 1, busy: 0, missing: 0, warnings: { SUPERUSER: 1 } },
    });
    await worker.stop();
    await until(({ length }) => length === 0);
    // Somebody has stopped it.
    expect(await missing()).toEqual([]);
  });

  test('a job that no worker has says what it waits for, except in the first answer', async () => {
    const message = async (id: string) => (await stack.status(id)).progresssMessage;
    const first = await stack.startBackup();
    expect(first.progresssMessage).toBe('Starting...');
    expect(await message(first.id)).toBe('Waiting: no worker is connected');
    const events = await EventStream.open(stack, first.id);
    const lock = new pg.Client(here);
    await lock.connect();
    try {
      await lock.query('BEGIN; LOCK TABLE s.t IN ACCESS EXCLUSIVE MODE');
      await workerOf(here);
      const isBusy = ([worker]: WorkerView[]) => worker?.jobs.join() === first.id;
      expect(await until(isBusy)).toHaveLength(1);
      expect(await counts()).toEqual([1, 1, 0]);
      await stack.watch(first.id, ({ progresssMessage }) => progresssMessage.includes('lock'));
      const [second, third] = [await stack.startBackup(), await stack.startBackup()];
      expect([second, third].map(({ progresssMessage }) => progresssMessage)).toEqual([
        'Starting...',
        'Starting...',
      ]);
      await eventually(async () => (await message(third.id)) !== 'Starting...');
      expect(await message(second.id)).toBe('Waiting for a free worker: 1 job before it');
      expect(await message(third.id)).toBe('Waiting for a free worker: 2 jobs before it');
      const { body } = await stack.call<{ daemons: DaemonStatus[] }>('GET', '/repo/v1/daemons');
      expect(body.daemons.map(({ progresssMessage }) => progresssMessage).slice(0, 2)).toEqual([
        'Waiting for a free worker: 2 jobs before it',
        'Waiting for a free worker: 1 job before it',
      ]);
      await stack.call('DELETE', `/repo/v1/terminateDaemon/${second.id}`);
      await lock.query('ROLLBACK');
      expect(await stack.finished(third.id)).toMatchObject({ status: 'COMPLETED' });
    } finally {
      await lock.end();
    }
    await events.ended;
    const messages = events.statuses.map(({ progresssMessage }) => progresssMessage);
    expect(messages[0]).toBe('Waiting: no worker is connected');
    expect(messages.at(-1)).toMatch(/^Finished: BACKUP/);
    await until(([worker]) => worker?.jobs.length === 0);
  });

  test('a worker of another database takes no jobs until an administrator accepts it, and then the first one takes none', async () => {
    const first = await workerOf(here);
    await first.logs('The worker takes jobs');
    const second = await workerOf(there);
    await second.logs('Takes no jobs: REPOSITORY_URL leads to ');
    const mine = await identityOf(here);
    const other = await identityOf(there);
    const [one, two] = await until(({ length }) => length === 2);
    expect([one?.takesJobs, two?.takesJobs]).toEqual([true, false]);
    expect(two?.warnings).toContainEqual({
      kind: 'OTHER_DATABASE',
      level: 'warning',
      message: expect.stringContaining(`the queue is for ${mine.databaseName} (system `),
    });

    // Enough jobs to see that they are not distributed at random.
    const backups = await Promise.all(Array.from({ length: 6 }, () => run('Backup', {})));
    for (const backup of backups) {
      expect(backup).toMatchObject({ status: 'COMPLETED' });
      const name = encodeURIComponent((backup.backupUrl ?? '').split('/').at(-1) ?? '');
      const { body } = await stack.call<{ database: string }>('GET', `/repo/v1/backups/${name}`);
      expect(body.database).toBe(mine.databaseName);
    }
    const url = backups[0]?.backupUrl;

    // The scope `start` does not allow it.
    const { body: key } = await stack.call<{ key: string }>('POST', '/auth/v1/keys', {
      name: 'k',
      scope: 'start',
    });
    const refused = await stack.call('PUT', '/repo/v1/repository/identity', other, { sessionToken: key.key });
    expect(refused.status).toBe(403);
    const accepted = await stack.call<RepositoryIdentity>('PUT', '/repo/v1/repository/identity', other);
    expect(accepted).toMatchObject({ status: 200, body: { identity: other, predecessors: [mine] } });
    await second.logs('The worker takes jobs');
    await until((all) =>
      all.every(({ takesJobs, identity }) => takesJobs === (identity?.databaseOid === other.databaseOid)),
    );
    // Its archives are the repository's own.
    expect(await run('Restore', { url })).toMatchObject({ status: 'COMPLETED', errorMessage: null });
    expect(await sql(there, 'SELECT v FROM s.t')).toEqual([{ v: 'here' }]);

    // As another repository, without a recorded predecessor, it refuses them.
    await sql(there, "UPDATE s.t SET v = 'there'");
    await stack.call('PUT', '/repo/v1/repository/identity', { ...other, moved: false });
    for (const type of ['Restore', 'Verify'])
      expect(await run(type, { url })).toMatchObject({
        status: 'FAILED',
        errorMessage: expect.stringContaining('The archive was taken from another database: '),
      });
    expect(await sql(there, 'SELECT v FROM s.t')).toEqual([{ v: 'there' }]);
    expect(await run('Restore', { url, otherDatabase: true })).toMatchObject({ status: 'COMPLETED' });
    expect(await sql(there, 'SELECT v FROM s.t')).toEqual([{ v: 'here' }]);

    const { body: audit } = await stack.call<{ events: { subject: string; outcome: string }[] }>(
      'GET',
      '/repo/v1/audit?action=repository.accept',
    );
    const subject = `${other.databaseName} ${other.systemIdentifier} ${other.databaseOid}`;
    expect(audit.events).toMatchObject([{ subject }, { subject }, { subject: null }]);
  });

  test('a worker that has found another database recorded does not record its own when the record is lost, and an old heartbeat shows no life', async () => {
    // That takes time, so it is tested once.
    if (queueUrl !== queues[0]?.[1]) return;
    const forger = await Forger.at(stack.env['QUEUE_URL'] ?? '');
    const first = await workerOf(here);
    await first.logs('The worker takes jobs');
    const second = await workerOf(there);
    await second.logs('Takes no jobs: REPOSITORY_URL leads to ');
    const [one] = await until(({ length }) => length === 2);
    const job = await forger.job(`worker-${one?.id}`, forger.workers);
    const old = job.data as object;
    await until(([now]) => now !== undefined && one !== undefined && now.lastBeatOn > one.lastBeatOn + 2_000);
    first.signal('SIGKILL');
    await first.ended();
    const killedOn = Date.now();
    const last = (await workers())[0]?.lastBeatOn ?? 0;
    await job.updateData(old);
    await forger.workers.remove('repository-identity');
    const beatOf = (all: WorkerView[]) => all.find(({ id }) => id !== one?.id)?.lastBeatOn ?? 0;
    const before = beatOf(await workers());
    const now = await until((all) => beatOf(all) > before + 2_000);
    expect(Math.abs((now.find(({ id }) => id === one?.id)?.lastBeatOn ?? 0) - last)).toBeLessThan(1_000);
    expect(now.find(({ id }) => id !== one?.id)?.takesJobs).toBe(false);
    expect(await recorded()).toMatchObject({ identity: null, problem: null });
    await (await workerOf(here)).logs('The worker takes jobs');
    expect((await recorded()).identity).toEqual(await identityOf(here));
    // A killed worker disappears from the list when its heartbeats are missing.
    await until((all) => all.every(({ id }) => id !== one?.id));
    expect(Date.now() - killedOn).toBeLessThan(15_000);
    // The other has been started in its place.
    expect(await missing()).toEqual([]);
    await forger.close();
  });

  test('a job that finds another database behind REPOSITORY_URL goes back to the queue, untouched', async () => {
    const worker = await workerOf(here);
    await worker.logs('The worker takes jobs');
    // The address leads elsewhere now, and the worker has not looked since.
    const name = new URL(here).pathname.slice(1);
    await sql(servers.postgres, `ALTER DATABASE ${name} RENAME TO ${name}_away`);
    await sql(servers.postgres, `CREATE DATABASE ${name} TEMPLATE ${new URL(there).pathname.slice(1)}`);
    const { id } = await stack.startBackup();
    await stack.watch(id, ({ progresssMessage }) =>
      progresssMessage.startsWith('Waiting for a worker whose'),
    );
    await worker.logs('Takes no jobs');
    expect(await stack.status(id)).toMatchObject({ status: 'IN_PROGRESS', errorMessage: null });
    const held = await stack.startBackup();
    await sleep(500);
    expect(await stack.status(held.id)).toMatchObject({ status: 'STARTED' });

    await sql(servers.postgres, `ALTER DATABASE ${name} RENAME TO ${name}_elsewhere`);
    await sql(servers.postgres, `ALTER DATABASE ${name}_away RENAME TO ${name}`);
    for (const one of [id, held.id]) {
      const { backupUrl, ...status } = await stack.finished(one);
      expect(status).toMatchObject({ status: 'COMPLETED', errorMessage: null });
      expect(await run('Verify', { url: backupUrl })).toMatchObject({ status: 'COMPLETED' });
    }
  });
});
