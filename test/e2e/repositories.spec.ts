import { pollUntil } from '#common';
import type { Archive, DaemonStatus, RepositoryIdentity, RepositoryView, ScheduleView } from '#contracts';
import { Secret } from '#config';
import { Keys } from '#keys';
import { sealedUrlContext } from '../../libs/queue/daemon-job.js';
import { eventually } from '../support/eventually.js';
import { newDatabase, openStore, putBytes, servers, sql } from '../support/servers.js';
import { Stack } from '../support/stack.js';

const ORDERS = (rows: number) =>
  `CREATE SCHEMA crm; CREATE TABLE crm.orders (id int PRIMARY KEY, note text);
   INSERT INTO crm.orders SELECT i, 'order ' || i FROM generate_series(1, ${rows}) i`;

let stack: Stack;
/** The URLs of two databases. */
let crm: string;
let staging: string;

const put = (name: string, body: object) =>
  stack.call<RepositoryView & { reason: string }>('PUT', `/repo/v1/repositories/${name}`, body);
const start = async (type: string, body: object): Promise<DaemonStatus> => {
  const { id } = await stack.ask<DaemonStatus>('POST', `/repo/v1/start${type}Daemon`, body);
  return stack.finished(id);
};
const backups = async (query = '') =>
  (await stack.ask<{ backups: Archive[] }>('GET', `/repo/v1/backups${query}`)).backups;
const rows = (url: string) => sql(url, 'SELECT * FROM crm.orders ORDER BY id');

const attemptsOf = async (id: string) => {
  const [row] = await sql(
    stack.env['DATABASE_URL'] ?? '',
    `SELECT attempts_made AS made, attempts_started AS started
       FROM snapshotd_queue.job WHERE queue = 'daemons' AND id = $1`,
    [id],
  );
  return row as { made: number; started: number };
};

beforeAll(async () => {
  stack = await Stack.start({ env: { S3_PREFIX: 'many/' } });
  crm = await newDatabase();
  staging = await newDatabase();
  await sql(crm, ORDERS(1_000));
  await sql(staging, ORDERS(3));
});
afterAll(() => stack.stop());

test('a repository needs its URL only, and its password is never shown', async () => {
  const made = await put('crm', { url: crm });
  expect(made).toMatchObject({
    status: 201,
    body: {
      name: 'crm',
      schemas: ['*'],
      excludeTables: [],
      prefix: 'crm/',
      createdBy: Stack.administrator.email,
    },
  });
  const { hostname, port, pathname, username } = new URL(crm);
  const target = { host: hostname, port: Number(port), database: pathname.slice(1), user: username };
  expect(made.body.target).toEqual(target);
  const { password } = new URL(crm);
  expect(password).not.toBe('');
  const said = JSON.stringify([
    made.body,
    await stack.ask('GET', '/repo/v1/repositories'),
    await stack.ask('GET', '/repo/v1/repositories/crm'),
    await sql(stack.env['DATABASE_URL'] ?? '', 'SELECT * FROM snapshotd.repository'),
  ]);
  expect(said).not.toContain(crm);
  expect(said).not.toContain(`:${password}@`);
  const { hostname: host, port: own, pathname: path } = new URL(stack.env['DATABASE_URL'] ?? '');
  const of = async () => (await stack.ask<RepositoryView>('GET', '/repo/v1/repositories/default')).target;
  expect(await eventually(of)).toMatchObject({ host, port: Number(own), database: path.slice(1) });
  expect((await put('crm', { excludeTables: ['crm.cache_*'] })).body).toMatchObject({
    target,
    excludeTables: ['crm.cache_*'],
  });
  expect((await put('crm', {})).status).toBe(200);
});

test('a backup of a repository lies in its folder, and the default one stays as it is', async () => {
  const ofCrm = await start('Backup', { repository: 'crm' });
  expect(ofCrm).toMatchObject({
    status: 'COMPLETED',
    repository: 'crm',
  });
  expect(ofCrm.backupUrl).toMatch(/\/archives\/many\/crm\/BackupDaemonJob\d+-\d+\.zip$/);
  const ofDefault = await start('Backup', {});
  expect(ofDefault).toMatchObject({ status: 'COMPLETED' });
  expect(ofDefault).not.toHaveProperty('repository');
  expect(ofDefault.backupUrl).toMatch(/\/archives\/many\/BackupDaemonJob\d+-\d+\.zip$/);

  expect((await backups()).map(({ repository }) => repository).sort()).toEqual(['crm', 'default']);
  expect(await backups('?repository=crm')).toMatchObject([{ url: ofCrm.backupUrl, entities: 1_000 }]);
  expect(await backups('?repository=default')).toMatchObject([{ url: ofDefault.backupUrl }]);
  const { daemons } = await stack.ask<{ daemons: DaemonStatus[] }>('GET', '/repo/v1/daemons?repository=crm');
  expect(daemons.map(({ id }) => id)).toEqual([ofCrm.id]);
});

test('a restore goes to the repository of the archive, or to the one that it names', async () => {
  const [{ name = '' } = {}] = await backups('?repository=crm');
  const before = await rows(crm);
  await sql(crm, 'DELETE FROM crm.orders WHERE id > 10');
  expect(await start('Restore', { url: name })).toMatchObject({ status: 'COMPLETED', repository: 'crm' });
  expect(await rows(crm)).toEqual(before);

  await put('staging', { url: staging });
  expect(await start('Restore', { url: name, repository: 'staging' })).toMatchObject({
    status: 'FAILED',
    errorMessage: expect.stringMatching(/^The archive was taken from another database: /) as string,
  });
  expect(await rows(staging)).toHaveLength(3);
  const body = { url: name, repository: 'staging', otherDatabase: true };
  expect(await start('Restore', body)).toMatchObject({ status: 'COMPLETED', repository: 'staging' });
  expect(await rows(staging)).toEqual(before);
  expect(await start('Verify', { url: name, level: 'FIT' })).toMatchObject({
    status: 'COMPLETED',
    repository: 'crm',
  });
});

test('a schedule backs a repository up, which cannot be deleted meanwhile', async () => {
  const schedule = await stack.ask<ScheduleView>('PUT', '/repo/v1/schedules/every-second', {
    pattern: '* * * * * *',
    then: 'nothing',
    repository: 'staging',
  });
  expect(schedule.repository).toBe('staging');
  while ((await backups('?repository=staging')).length === 0) continue;
  const disabled = { pattern: '* * * * * *', enabled: false };
  expect(await stack.ask('PUT', '/repo/v1/schedules/every-second', disabled)).toMatchObject({
    repository: 'staging',
  });
  expect(await stack.call('DELETE', '/repo/v1/repositories/staging')).toMatchObject({
    status: 409,
    body: { reason: 'The schedules every-second use it. Delete them first.' },
  });
  await stack.ask('DELETE', '/repo/v1/schedules/every-second');
});

test('archives of a deleted repository stay its own and can be restored elsewhere', async () => {
  const [{ name = '' } = {}] = await backups('?repository=crm');
  expect(await stack.call('DELETE', '/repo/v1/repositories/crm')).toMatchObject({ status: 204 });
  expect(await stack.call('GET', '/repo/v1/repositories/crm')).toMatchObject({ status: 404 });
  expect(await backups('?repository=crm')).toMatchObject([{ name }]);
  expect(await stack.call('POST', '/repo/v1/startBackupDaemon', { repository: 'crm' })).toMatchObject({
    status: 400,
    body: {
      reason: expect.stringMatching(/^repository: there is no repository crm: it was deleted/) as string,
    },
  });
  await sql(staging, 'TRUNCATE crm.orders');
  const body = { url: name, repository: 'staging', otherDatabase: true };
  expect(await start('Restore', body)).toMatchObject({ status: 'COMPLETED' });
  expect(await rows(staging)).toHaveLength(1_000);

  expect(await put('crm', { url: crm })).toMatchObject({
    status: 409,
    body: {
      reason: expect.stringMatching(/^The folder many\/crm\/ holds archives already, such as /) as string,
    },
  });
  expect(await put('crm', { url: crm, adopt: true })).toMatchObject({ status: 201 });
  expect(await start('Verify', { url: name, level: 'FIT' })).toMatchObject({ status: 'COMPLETED' });
});

test('a name whose folder holds archives is refused until somebody adopts them', async () => {
  openStore(servers.s3).close(); // Sets the credentials.
  await putBytes('many/old/a.zip', Buffer.from('no archive'));
  expect((await put('old', { url: crm })).status).toBe(409);
  expect((await backups('?repository=default')).map(({ name }) => name)).toContain('old/a.zip');
  expect((await put('old', { url: crm, adopt: true })).status).toBe(201);
  expect((await backups('?repository=old')).map(({ name }) => name)).toEqual(['old/a.zip']);
});

test('a URL that leads to another database later fails its jobs, until the repository is set again', async () => {
  const name = `moved_${Date.now() % 1e6}`;
  const other = await newDatabase();
  await sql(other, ORDERS(5));
  await put(name, { url: other });
  expect(await start('Backup', { repository: name })).toMatchObject({ status: 'COMPLETED' });
  const database = new URL(other).pathname.slice(1);
  await sql(crm, `ALTER DATABASE "${database}" RENAME TO "${database}_old"`);
  await sql(crm, `CREATE DATABASE "${database}"`);
  await sql(other, ORDERS(5));
  expect(await start('Backup', { repository: name })).toMatchObject({
    status: 'FAILED',
    errorMessage: expect.stringContaining(
      `Another database answers at the URL of the repository ${name}`,
    ) as string,
  });
  const [{ oid } = {}] = await sql(crm, 'SELECT oid::int FROM pg_database WHERE datname = $1', [database]);
  const path = `/repo/v1/repositories/${name}/identity`;
  const { identity } = await stack.ask<RepositoryIdentity>('GET', path);
  await stack.ask('PUT', path, { ...identity, databaseOid: oid });
  expect(await start('Backup', { repository: name })).toMatchObject({ status: 'COMPLETED' });
  const { events } = await stack.ask<{ events: object[] }>('GET', `/repo/v1/audit?repository=${name}`);
  expect(events).toMatchObject([
    { action: 'backup.start', outcome: '201', repository: name },
    { action: 'repository.accept', outcome: '200' },
    { action: 'backup.start' },
    { action: 'backup.start' },
    { action: 'repository.set', subject: name, outcome: '201' },
  ]);
});

test('a worker leaves the jobs of other repositories to those who serve them', async () => {
  await put('shop', { url: staging });
  const [worker] = stack.workers;
  await worker?.stop();
  await stack.startWorker({ WORKER_REPOSITORIES: 'default' });
  const { id } = await stack.ask<DaemonStatus>('POST', '/repo/v1/startBackupDaemon', { repository: 'shop' });
  expect(await start('Backup', {})).toMatchObject({ status: 'COMPLETED' });
  // Offered again and again, which counts as no attempt.
  const offered = async () => ((await attemptsOf(id)).started > 3 ? true : undefined);
  expect(await pollUntil(offered, { everyMs: 50, timeoutMs: 60_000 })).toBe(true);
  expect(await attemptsOf(id)).toMatchObject({ made: 0 });
  expect(await stack.status(id)).toMatchObject({
    status: 'STARTED',
    progresssMessage: 'Waiting: no connected worker serves the repository shop',
  });
  await stack.startWorker({ WORKER_REPOSITORIES: 'shop, crm' });
  expect(await stack.finished(id)).toMatchObject({ status: 'COMPLETED', repository: 'shop' });
  expect(await attemptsOf(id)).toMatchObject({ made: 1 });
});

test.each([
  ['default', { url: 'postgres://u@h/d' }, 409, /^The settings of the workers define the repository default/],
  ['Crm', { url: 'postgres://u@h/d' }, 400, /^The name must have/],
  ['a'.repeat(41), { url: 'postgres://u@h/d' }, 400, /^The name must have/],
  ['new', {}, 400, /^url: a new repository needs the URL/],
  ['new', { url: 'postgres://u:p@a,b/d' }, 400, /^url: names several hosts/],
  ['new', { url: 'postgres://u@h/d', schemas: ['*', 'a'] }, 400, /^schemas: holds \* beside names/],
  ['new', { url: 'postgres://u@h/d', schemas: ['pg_catalog'] }, 400, /PostgreSQL's own schema/],
  ['new', { url: 'postgres://u@h/d', excludeTables: ['orders'] }, 400, /not of the form schema\.table/],
  ['new', { url: 'postgres://u@h/d', prefix: '../x/' }, 400, /^prefix: is a folder such as crm\//],
  ['new', { url: 'postgres://u@h/d', prefix: 'staging/x/' }, 409, /overlaps staging\/x\//],
  [
    'staging',
    { prefix: 'elsewhere/' },
    409,
    /^Its archives lie in staging\/: the prefix of a repository cannot change/,
  ],
])('%s %j is refused', async (name, body, status, reason) => {
  const answer = await put(name, body);
  expect(answer.status).toBe(status);
  expect(answer.body.reason).toMatch(reason);
});

test('a job for a repository that does not exist is refused', async () => {
  for (const [type, body] of [
    ['Backup', {}],
    ['Restore', { url: 'a.zip' }],
    ['Verify', { url: 'a.zip' }],
  ] as const)
    expect(
      await stack.call('POST', `/repo/v1/start${type}Daemon`, { ...body, repository: 'nowhere' }),
    ).toMatchObject({ status: 400, body: { reason: 'repository: there is no repository nowhere.' } });
});

test('an API with a new SECRET_KEY seals the URLs again, so that the old key can go', async () => {
  const key = Buffer.alloc(32, 7).toString('base64');
  Object.assign(stack.env, { SECRET_KEY: key, SECRET_KEY_PREVIOUS: Stack.secretKey });
  await stack.restartApi('SIGTERM');
  const urls = await sql<{ name: string; sealed: string }>(
    stack.env['DATABASE_URL'] ?? '',
    'SELECT name, sealed_url AS sealed FROM snapshotd.repository WHERE sealed_url IS NOT NULL',
  );
  expect(urls.length).toBeGreaterThan(2);
  const present = new Keys([new Secret(key)]);
  for (const { name, sealed } of urls)
    expect(present.open(sealedUrlContext(name, 'url'), sealed)?.reveal()).toMatch(/^postgres/);
});
