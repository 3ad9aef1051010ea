import { createHash, randomBytes } from 'node:crypto';
import { buffer } from 'node:stream/consumers';
import { Redis } from 'ioredis';
import type { DaemonStatus } from '#contracts';
import { eventually } from '../support/eventually.js';
import { addressName, Forger } from '../support/forger.js';
import { Receiver } from '../support/receiver.js';
import { oneOf, openStore, putBytes, queues, servers, sql } from '../support/servers.js';
import { Stack } from '../support/stack.js';

const NOT_AUTHENTIC =
  /^This job is not authentic: an older version of snapshotd, or somebody without SECRET_KEY,/;
const RESULT_NOT_AUTHENTIC = /^The result of this job is not authentic: /;
const STARTED_BY = 'platform@example.org';

describe.each(oneOf(queues, 1))('somebody who may write to the %s queue', (title, queueUrl) => {
  const prefix = `forged-${randomBytes(4).toString('hex')}/`;
  const store = openStore(servers.s3);
  let receiver: Receiver;
  let stack: Stack;
  let forger: Forger;
  /** A backup and its verification, done by a worker. */
  let backup: DaemonStatus;
  let verification: DaemonStatus;
  let archive: { key: string; url: string };

  beforeAll(async () => {
    receiver = await Receiver.start();
    stack = await Stack.start({
      queueUrl,
      env: {
        S3_PREFIX: prefix,
        WEBHOOK_URLS: `http://${receiver.host}/hook`,
        WEBHOOK_SECRET: 'webhook-secret-of-this-test',
        DEADMAN_URL: `http://${receiver.host}/alive`,
      },
    });
    forger = await Forger.at(stack.env['QUEUE_URL'] ?? '');
    await sql(database(), 'CREATE TABLE repository.marks (mark text)');
    backup = await stack.finished((await stack.startBackup()).id);
    const url = backup.backupUrl ?? '';
    archive = { url, key: prefix + (url.split('/').at(-1) ?? '') };
    verification = await stack.finished((await start('Verify', { url })).id);
    expect([backup.status, verification.status]).toEqual(['COMPLETED', 'COMPLETED']);
  });
  afterAll(async () => {
    await forger.close();
    await stack.stop();
    receiver.stop();
    store.close();
  });

  const database = () => stack.env['DATABASE_URL'] ?? '';
  const start = async (type: string, body: object = {}) =>
    (await stack.call<DaemonStatus>('POST', `/repo/v1/start${type}Daemon`, body)).body;
  const stopWorkers = async () => {
    for (const worker of stack.workers.splice(0)) await worker.stop();
  };
  const bytesOf = async (key: string) => {
    const object = await store.open(key, new AbortController().signal);
    return object && (await buffer(object.read(0, object.length)));
  };

  test('cannot run a job that no API has signed for this id and type', async () => {
    const signed = (await forger.job(verification.id)).data as object;
    const restore = { startedBy: STARTED_BY, startedOn: Date.now(), archive };
    const forged = await Promise.all([
      forger.daemons.add('RESTORE', restore),
      forger.daemons.add('RESTORE', { ...restore, nonce: 'a', code: 'ab'.repeat(32) }),
      forger.daemons.add('RESTORE', signed),
      forger.daemons.add('VERIFY', signed),
      forger.daemons.add('VERIFY', { ...signed, id: verification.id, type: 'VERIFY' }),
      forger.daemons.add('BACKUP', { startedBy: STARTED_BY, startedOn: Date.now() }),
    ]);
    for (const { id = '' } of forged) {
      expect((await forger.ended(id)).failedReason).toMatch(NOT_AUTHENTIC);
      expect(await stack.status(id)).toMatchObject({
        status: 'FAILED',
        errorMessage: expect.stringMatching(NOT_AUTHENTIC),
      });
    }
  });

  test('cannot change a job of an API', async () => {
    await stopWorkers();
    const { id } = await start('Verify', { url: archive.url });
    const job = await forger.job(id);
    const data = job.data as { archive: object };
    await job.updateData({ ...data, archive: { ...data.archive, key: 'another.zip' } });
    expect(await stack.status(id)).toMatchObject({ status: 'FAILED' });
    await stack.startWorker();
    expect((await forger.ended(id)).failedReason).toMatch(NOT_AUTHENTIC);
  });

  test('cannot run a job that an API with another prefix has signed', async () => {
    await stopWorkers();
    const { id } = await start('Verify', { url: archive.url });
    stack.env['S3_PREFIX'] = 'another/';
    await stack.startWorker();
    expect(await stack.finished(id)).toMatchObject({
      status: 'FAILED',
      errorMessage: expect.stringContaining(`is not below this worker's S3_PREFIX`),
    });
    stack.env['S3_PREFIX'] = prefix;
  });

  test('cannot swap a job after a worker took it', async () => {
    await stopWorkers();
    await sql(database(), `INSERT INTO repository.marks VALUES ('later than the backup')`);
    const { id } = await start('Verify', { url: archive.url });
    const job = await forger.job(id);
    const signed = job.data as object;
    await forger.replace(id, 'RESTORE', { ...signed, code: undefined, unconfirmed: true });
    await stack.startWorker();
    await eventually(async () => (await job.getState()) === 'active', 5);
    await forger.replace(id, 'VERIFY', signed);
    expect(await stack.finished(id)).toMatchObject({ type: 'VERIFY', status: 'COMPLETED' });
    expect(await sql(database(), 'SELECT mark FROM repository.marks')).toHaveLength(1);
  });

  test('cannot have a worker delete an archive or end a session by notes of earlier attempts', async () => {
    const finished = await forger.job(backup.id);
    const signed = finished.progress as { notes: object };
    const { nonce } = finished.data as { nonce: string };
    const victim = await bytesOf(archive.key);
    const notes = { archives: [{ key: archive.key }], sessions: [{ name: 'psql' }] };
    await stopWorkers();
    const ids: string[] = [];
    for (const progress of [
      { ...signed, notes, code: undefined },
      { ...signed, notes },
      signed,
      { ...signed, id: backup.id, nonce },
      { notes },
      [],
    ]) {
      const { id } = await stack.startBackup();
      await (await forger.job(id)).updateProgress(progress);
      expect(await stack.status(id)).toMatchObject({
        status: 'STARTED',
        progresssMessage: expect.stringMatching(/^(Starting\.\.\.|Waiting: no worker is connected)$/),
      });
      ids.push(id);
    }
    await stack.startWorker();
    for (const id of ids)
      expect(await stack.finished(id)).toMatchObject({
        status: 'FAILED',
        errorMessage: expect.stringMatching(NOT_AUTHENTIC),
      });
    expect(await bytesOf(archive.key)).toEqual(victim);
  });

  test('cannot say that a backup has completed', async () => {
    await stopWorkers();
    const genuine = (await forger.job(backup.id)).returnvalue as object;
    for (const result of [
      { backupUrl: archive.url, entities: 1 },
      genuine,
      { ...genuine, id: backup.id },
      7,
    ]) {
      const { id } = await stack.startBackup();
      await forger.complete(id, result);
      expect(await stack.status(id)).toMatchObject({
        status: 'FAILED',
        errorMessage: expect.stringMatching(RESULT_NOT_AUTHENTIC),
        backupUrl: null,
      });
    }

    // A genuine result says nothing of other data with the same nonce.
    const { data, name } = await forger.job(verification.id);
    const { nonce } = data as { nonce: string };
    const claimed = { nonce, startedBy: 'somebody', startedOn: Date.now(), unconfirmed: true };
    await forger.replace(verification.id, 'BACKUP', claimed);
    expect(await stack.status(verification.id)).toMatchObject({
      status: 'FAILED',
      errorMessage: expect.stringMatching(RESULT_NOT_AUTHENTIC),
      backupUrl: null,
    });
    await forger.replace(verification.id, name, data as object);
    expect(await stack.status(verification.id)).toMatchObject({ type: 'VERIFY', status: 'COMPLETED' });

    const path = '/repo/v1/schedules/forged';
    const schedule = { pattern: '* * * * * *', then: 'nothing', retention: { last: 1 } };
    await stack.call('PUT', path, schedule);
    const lastRun = async () =>
      (await stack.call<{ lastRun: { daemonId: string | null; status: string } | null }>('GET', path)).body
        .lastRun;
    await eventually(async () => typeof (await lastRun())?.daemonId === 'string');
    await stack.call('PUT', path, { ...schedule, enabled: false });
    await forger.complete((await lastRun())?.daemonId ?? '', genuine);
    await eventually(async () => (await lastRun())?.status !== 'IN_PROGRESS');
    expect(await lastRun()).toMatchObject({
      status: 'FAILED',
      errorMessage: expect.stringContaining('The result of this job is not authentic'),
    });
    expect(await sql(stack.env['DATABASE_URL'] ?? '', 'SELECT url FROM snapshotd.schedule_archive')).toEqual(
      [],
    );
    await stack.startWorker();
  });

  test('cannot forge a notification or a call of DEADMAN_URL', async () => {
    const of = (id: string) =>
      receiver.until(
        1,
        ({ body }) => body !== '' && (JSON.parse(body) as { daemon: { id: string } }).daemon.id === id,
      );
    const [genuine] = await of(backup.id);
    const delivery = String(genuine?.headers['snapshotd-delivery']);
    const { data } = await forger.job(delivery, forger.notifications);
    const hook = addressName(`http://${receiver.host}/hook`);
    const alive = addressName(`http://${receiver.host}/alive`);
    const body = JSON.stringify({ event: 'daemon.completed', daemon: { id: '1' } });
    const forged: [string, unknown][] = [
      ['body', { address: hook, body }],
      ['body-too', { ...(data as object), body }],
      ['copied', data],
      ['alive', { address: alive }],
      ['alive-too', { ...(data as object), address: alive }],
      ['shapeless', null],
      ['shapeless-too', [1]],
    ];
    const before = receiver.received.length;
    for (const [jobId, forgedData] of forged) {
      const { id = '' } = await forger.notifications.add('request', forgedData, { jobId, attempts: 3 });
      expect((await forger.ended(id, forger.notifications)).failedReason).toMatch(
        /^This notification is not authentic: /,
      );
    }
    const next = await stack.finished((await stack.startBackup()).id);
    await of(next.id);
    expect(receiver.received.slice(before).filter(({ path }) => path === '/alive')).toEqual([]);
    for (const request of receiver.received.slice(before))
      expect(JSON.parse(request.body)).toMatchObject({ daemon: { id: next.id } });
  });

  test('cannot answer a start with an Idempotency-Key', async () => {
    await stopWorkers();
    const idOf = (key: string) => createHash('sha256').update(`${STARTED_BY}\n${key}`).digest('hex');
    const signed = (await forger.job(backup.id)).data as object;
    for (const [key, data] of Object.entries({
      copied: signed,
      marked: { ...signed, mark: idOf('marked') },
      shapeless: null,
    })) {
      const forged = await forger.daemons.add('BACKUP', data, { deduplication: { id: idOf(key) } });
      const send = () =>
        stack.call<DaemonStatus>(
          'POST',
          '/repo/v1/startBackupDaemon',
          {},
          {
            sessionToken: stack.sessionToken,
            'Idempotency-Key': key,
          },
        );
      const { status, body } = await send();
      expect(status).toBe(201);
      expect(body).toMatchObject({ status: 'STARTED', startedBy: STARTED_BY });
      expect(body.id).not.toBe(forged.id);
      expect((await send()).body.id).toBe(body.id);
      await stack.call('DELETE', `/repo/v1/terminateDaemon/${body.id}`);
    }
    await stack.startWorker();
  });

  test('makes no page fail by jobs of a wrong shape', async () => {
    await stopWorkers();
    const right = { startedBy: STARTED_BY, startedOn: 1, nonce: 'a', archive };
    const shapes: [string, unknown][] = [
      ...[null, [], [1], 'text', 7, true, {}, { startedBy: 1, startedOn: '1' }].map(
        (data): [string, unknown] => ['BACKUP', data],
      ),
      ['NONE', right],
      ['constructor', right],
      ['RESTORE', { ...right, archive: 'a.zip' }],
      ['RESTORE', { ...right, archive: { key: archive.key } }],
      ['VERIFY', { ...right, startedOn: 1e300 }],
      ['VERIFY', { ...right, startedOn: 9e15, unconfirmed: true }],
      ['VERIFY', { ...right, terminatedOn: 'soon', neverRuns: 1 }],
      ['BACKUP', { startedBy: '<script>', startedOn: 1 }],
    ];
    const ids: string[] = [];
    for (const [type, data] of shapes) ids.push((await forger.daemons.add(type, data)).id ?? '');
    for (const progress of ['text', 7, [null], { notes: null }, { message: {}, notes: { archives: 7 } }]) {
      const { id } = await stack.startBackup();
      await (await forger.job(id)).updateProgress(progress);
      ids.push(id);
    }
    if (title === 'Redis') ids.push(...(await unreadable(stack.env['QUEUE_URL'] ?? '')));

    await stack.call('PUT', '/repo/v1/schedules/shapes', {
      pattern: '0 0 29 2 *',
      then: 'nothing',
      retention: { last: 1 },
    });
    await putBytes(`${prefix}doomed.zip`, Buffer.from('no archive'));
    const states = ['waiting', 'active', 'completed', 'failed', 'delayed', 'latest'];
    const lookEverywhere = async () => {
      for (const path of [
        '/metrics',
        '/admin',
        '/admin/daemons',
        '/repo/v1/daemons?limit=100',
        ...['BACKUP', 'RESTORE', 'VERIFY'].map((type) => `/repo/v1/daemons?type=${type}`),
        ...['STARTED', 'IN_PROGRESS', 'COMPLETED', 'FAILED'].map(
          (state) => `/repo/v1/daemons?status=${state}`,
        ),
        '/repo/v1/schedules/shapes/pruning',
        ...states.map(
          (state) => `/admin/queues/api/queues?activeQueue=daemons&status=${state}&jobsPerPage=100`,
        ),
      ])
        expect({ path, status: (await stack.call('GET', path)).status }).toEqual({ path, status: 200 });
      for (const id of ids) {
        const { status, body } = await stack.call<DaemonStatus>('GET', `/repo/v1/daemonStatus/${id}`);
        expect([200, 404]).toContain(status);
        if (status === 200) expect(body).toMatchObject({ id, startedOn: expect.any(Number) });
        for (const path of [`/admin/daemons/${id}`, `/admin/queues/api/queues/daemons/${id}`])
          expect({ path, failed: (await stack.call('GET', path)).status >= 500 }).toEqual({
            path,
            failed: false,
          });
        if (status === 404 || body.status === 'FAILED') {
          const events = await stack.call<string>('GET', `/repo/v1/daemonStatus/${id}/events`);
          expect(events.status).toBe(status);
        }
      }
    };
    await lookEverywhere();
    expect((await stack.call('DELETE', '/repo/v1/backups/doomed.zip')).status).toBe(204);
    for (const id of ids)
      expect([204, 404]).toContain((await stack.call('DELETE', `/repo/v1/terminateDaemon/${id}`)).status);
  });
});

/** Entries that BullMQ itself cannot read. @returns their ids */
async function unreadable(url: string): Promise<string[]> {
  const redis = new Redis(url);
  const entries = {
    '9001': { name: 'BACKUP', data: '{not JSON', opts: '{}', timestamp: '1' },
    '9002': { name: 'BACKUP', data: '{}', opts: 'null', timestamp: '1' },
    '9003': { name: 'BACKUP', data: '{}', opts: '{}', progress: '{', timestamp: 'never' },
    '9004': { id: '1', name: 'BACKUP', data: '{}', opts: '{}', timestamp: '1' },
  };
  for (const [id, fields] of Object.entries(entries)) await redis.hset(`snapshotd:daemons:${id}`, fields);
  await redis.set('snapshotd:daemons:9005', 'no hash');
  const ids = [...Object.keys(entries), '9005'];
  // In the list of ended jobs, where no worker takes them.
  for (const id of ids) await redis.zadd('snapshotd:daemons:failed', Date.now(), id);
  redis.disconnect();
  return ids;
}
