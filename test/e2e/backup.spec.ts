import { readFileSync } from 'node:fs';
import { progressTotal } from '#common';
import type { DaemonStatus } from '#contracts';
import type { ObjectStore } from '#storage';
import { DownloadedArchive } from '../support/archive.js';
import { newDatabase, oneOf, openStore, queues, servers, sql } from '../support/servers.js';
import { Stack } from '../support/stack.js';

const FIELDS = [
  'id',
  'type',
  'status',
  'errorMessage',
  'progresssMessage',
  'progresssCurrent',
  'progresssTotal',
  'errorDetails',
  'backupUrl',
  'totalTimeMS',
  'startedBy',
  'startedOn',
];

/** Nodes and revisions enough for a backup that can be watched. */
const NODE_COUNT = 30_000;
const ROWS = 3 * NODE_COUNT + 1;
const TOTAL = progressTotal(ROWS);
const MANY_ROWS = `
  INSERT INTO repository.principal (id, name) VALUES (1, 'platform');
  INSERT INTO repository.node (id, name, type, created_by, etag)
    SELECT i, 'node ' || i, 'file', 1, gen_random_uuid() FROM generate_series(1, ${NODE_COUNT}) i;
  INSERT INTO repository.revision (node_id, number, modified_by, annotations)
    SELECT i, n, 1, jsonb_build_object('string', jsonb_build_object('hash', ARRAY[sha512((i * n)::text::bytea)::text]))
      FROM generate_series(1, ${NODE_COUNT}) i, generate_series(1, 2) n;`;

describe.each(oneOf(queues, 1))('with the %s queue', (_title, queueUrl) => {
  let stack: Stack;
  let store: ObjectStore;
  beforeAll(async () => {
    store = openStore(servers.s3);
    stack = await Stack.start({ queueUrl, workers: 2, env: { BACKUP_DEFINITIONS: 'auto' } });
  });
  afterAll(async () => {
    store.close();
    await stack.stop();
  });

  test('an empty repository gives an archive without rows, and the first id is 1', async () => {
    const before = Date.now();
    const started = await stack.call<DaemonStatus>('POST', '/repo/v1/startBackupDaemon', {});
    expect(started.status).toBe(201);
    expect(Object.keys(started.body)).toEqual(FIELDS);
    const { startedOn } = started.body;
    expect(started.body).toEqual({
      id: '1',
      type: 'BACKUP',
      status: 'STARTED',
      errorMessage: null,
      progresssMessage: 'Starting...',
      progresssCurrent: 0,
      progresssTotal: 0,
      errorDetails: null,
      backupUrl: null,
      totalTimeMS: 0,
      startedBy: Stack.administrator.email,
      startedOn,
    });
    expect(startedOn).toBeGreaterThanOrEqual(before);
    expect(startedOn).toBeLessThanOrEqual(Date.now());
    const finished = await stack.finished('1');
    expect(Object.keys(finished)).toEqual(FIELDS);
    expect(finished).toMatchObject({
      status: 'COMPLETED',
      progresssMessage: 'Finished: BACKUP',
      progresssTotal: 0,
    });
    expect(finished.backupUrl).toMatch(
      new RegExp(`^${servers.s3.endpoint}/archives/BackupDaemonJob1-\\d+\\.zip$`),
    );
  });

  test('progress goes up to a total that is exact in the end, and the archive holds it all', async () => {
    await sql(stack.env['DATABASE_URL'] ?? '', MANY_ROWS);
    const { id } = await stack.startBackup();
    const seen = await stack.watch(id);
    const last = seen.at(-1);
    expect(last).toMatchObject({
      status: 'COMPLETED',
      progresssCurrent: TOTAL,
      progresssTotal: TOTAL,
      errorMessage: null,
    });

    const running = seen.filter(({ status }) => status === 'IN_PROGRESS');
    const currents = running.map(({ progresssCurrent }) => progresssCurrent);
    expect(currents).toEqual(currents.toSorted((a, b) => a - b));
    expect(currents.some((current) => current > 0 && current < ROWS)).toBe(true);
    // An estimate until all rows are there, since nobody has analyzed the tables.
    for (const { progresssCurrent, progresssTotal } of running)
      expect(progresssTotal).toBeGreaterThanOrEqual(progresssCurrent);
    for (const { backupUrl, totalTimeMS } of running)
      expect({ backupUrl, positive: totalTimeMS > 0 }).toEqual({ backupUrl: null, positive: true });
    expect(running.map(({ progresssMessage }) => progresssMessage).join()).toMatch(
      /Copying repository\.\w+ \(table \d of 5\)/,
    );

    const archive = await DownloadedArchive.of(
      store,
      new URL(last?.backupUrl ?? '').pathname.replace('/archives/', ''),
    );
    expect(archive.test()).toContain('No errors detected');
    expect(archive.manifest()).toMatchObject({ daemonId: id, totals: { tables: 5, entities: ROWS } });
    const again = await stack.status(id);
    expect(again.totalTimeMS).toBe(last?.totalTimeMS);
  });

  test('two workers share the queue, and every backup has a separate archive', async () => {
    const started = await Promise.all(Array.from({ length: 4 }, () => stack.startBackup()));
    const finished = await Promise.all(started.map(({ id }) => stack.finished(id)));
    expect(finished.map(({ status }) => status)).toEqual(Array(4).fill('COMPLETED'));
    expect(new Set(finished.map(({ backupUrl }) => backupUrl)).size).toBe(4);
    const lines = stack.workers.map((worker) =>
      worker
        .logTail(1000)
        .split('\n')
        .filter((line) => line.includes('"Completed"')),
    );
    expect(lines[0]?.length).toBeGreaterThan(0);
    expect(lines[1]?.length).toBeGreaterThan(0);
    // Each line says whose it is.
    expect(JSON.parse(lines[0]?.[0] ?? '{}')).toMatchObject({
      type: 'BACKUP',
      attempt: 1,
      daemon: expect.stringMatching(/^\d+$/) as unknown,
    });
  });

  test('the API tells of everything again after it was restarted', async () => {
    const before = await stack.status('1');
    await stack.restartApi('SIGTERM');
    expect(await stack.status('1')).toEqual(before);
  });

  test('a worker that is told to stop hands its backup back, and another completes it', async () => {
    for (const worker of stack.workers.splice(0)) await worker.stop();
    const { id } = await stack.startBackup();
    const first = await stack.startWorker();
    await stack.watch(id, ({ progresssCurrent }) => progresssCurrent > 0);
    await first.stop();
    expect((await stack.status(id)).status).toBe('IN_PROGRESS');
    await stack.startWorker();
    expect(await stack.finished(id)).toMatchObject({ status: 'COMPLETED', progresssTotal: TOTAL });
    expect(first.logTail()).toContain('Handed back to the queue');
  });

  test('no secret is in any log', () => {
    const logs = stack.logs();
    expect(logs).toContain('Completed');
    const secrets = [
      stack.sessionToken,
      Stack.administrator.password,
      ...[stack.env['DATABASE_URL'], stack.env['QUEUE_URL']].map((url) => new URL(url ?? '').password),
    ];
    for (const secret of secrets) expect(logs.includes(secret)).toBe(false);
  });
});

test('a worker stays small with rows of 8 MB', async () => {
  // Debian's pg_dump reads no server that new, so this is the bundled one.
  const stack = await Stack.start({
    env: { DATABASE_URL: await newDatabase(servers.postgres), BACKUP_DEFINITIONS: 'auto' },
  });
  await sql(
    stack.env['DATABASE_URL'] ?? '',
    `INSERT INTO repository.principal (id, name) VALUES (1, 'p');
     INSERT INTO repository.node (id, name, type, created_by, etag, description)
       SELECT i, i, 'file', 1, gen_random_uuid(), repeat(md5(i::text), 262144) FROM generate_series(1, 24) i`,
  );
  const { id } = await stack.startBackup();
  expect(await stack.finished(id)).toMatchObject({ status: 'COMPLETED', progresssTotal: progressTotal(25) });
  // The bundled pg_dump takes 100 of it.
  expect(peakMegabytes(stack.workers[0]?.pid)).toBeLessThan(380);
  await stack.stop();
});

/** The most memory that a process has had resident, by the kernel's count. */
function peakMegabytes(pid: number | undefined): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  return Number(/VmHWM:\s+(\d+) kB/.exec(status)?.[1]) / 1024;
}
