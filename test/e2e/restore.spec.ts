import type { DaemonStatus } from '#contracts';
import type { ObjectStore } from '#storage';
import { newDatabase, oneOf, openStore, putBytes, queues, servers, sql } from '../support/servers.js';
import { Stack } from '../support/stack.js';
import { pgDump, stateOf } from '../support/state.js';
import pg from 'pg';

const NODES = (count: number) => `
  INSERT INTO repository.principal (id, name) VALUES (1, 'platform');
  INSERT INTO repository.node (id, name, description, parent_id, type, created_by, etag, benefactor_id)
    SELECT i, 'node ' || i, CASE WHEN i % 3 = 0 THEN E'two\\nlines, "quoted"' END, nullif(i / 10, 0), 'file', 1, gen_random_uuid(), i
      FROM generate_series(1, ${count}) i;
  INSERT INTO repository.revision (node_id, number, modified_by, annotations)
    SELECT i, n, 1, jsonb_build_object('string', jsonb_build_object('hash', ARRAY[sha512((i * n)::text::bytea)::text]))
      FROM generate_series(1, ${count}) i, generate_series(1, 2) n;
  INSERT INTO repository.access_control_list (node_id, etag) SELECT id, etag FROM repository.node WHERE id < 50;
  INSERT INTO repository.access_grant SELECT node_id, 1, '{READ,UPDATE}' FROM repository.access_control_list;
  SELECT setval('repository.node_id_seq', ${count});`;

/** Each has two revisions. */
const NODE_COUNT = 2_000;

const EMPTY =
  'TRUNCATE repository.principal, repository.node, repository.revision, repository.access_control_list, repository.access_grant';

const start = (stack: Stack, type: 'Restore' | 'Verify', body: object) =>
  stack.call<DaemonStatus & { reason: string }>('POST', `/repo/v1/start${type}Daemon`, body);
const terminate = (stack: Stack, id: string) => stack.call('DELETE', `/repo/v1/terminateDaemon/${id}`);
const databaseOf = (stack: Stack) => stack.env['DATABASE_URL'] ?? '';

async function backedUp(stack: Stack): Promise<DaemonStatus & { backupUrl: string }> {
  const { id } = await stack.startBackup();
  const status = await stack.finished(id);
  expect(status).toMatchObject({ status: 'COMPLETED' });
  return { ...status, backupUrl: status.backupUrl ?? '' };
}

describe.each(oneOf(queues, 0))('with the %s queue', (_title, queueUrl) => {
  let stack: Stack;
  let store: ObjectStore;
  let url: string;
  beforeAll(async () => {
    store = openStore(servers.s3);
    stack = await Stack.start({
      queueUrl,
      env: { DATABASE_URL: await newDatabase(servers.debianPostgres?.url), BACKUP_DEFINITIONS: 'auto' },
    });
    await sql(databaseOf(stack), NODES(NODE_COUNT));
    url = (await backedUp(stack)).backupUrl;
  });
  afterAll(async () => {
    store.close();
    await stack.stop();
  });

  test.each([
    ['was emptied', EMPTY],
    [
      'was changed',
      "UPDATE repository.node SET name = name || '?', parent_id = NULL; DELETE FROM repository.revision WHERE number = 2",
    ],
    [
      'was filled with other rows',
      `${EMPTY}; INSERT INTO repository.principal (name) SELECT 'p' || i FROM generate_series(1, 99) i`,
    ],
  ])('2,000 nodes come back exactly after the repository %s', async (_what, spoil) => {
    const before = await stateOf(databaseOf(stack), ['repository']);
    const dump = servers.debianPostgres ? await pgDump(databaseOf(stack), ['repository']) : '';
    await sql(databaseOf(stack), spoil);
    const started = await start(stack, 'Restore', { url });
    expect(started).toMatchObject({
      status: 201,
      body: { type: 'RESTORE', status: 'STARTED', progresssMessage: 'Starting...', backupUrl: url },
    });
    expect(started.body).not.toHaveProperty('safetyBackupUrl');
    const seen = await stack.watch(started.body.id);
    const entities = 1 + 3 * NODE_COUNT + 49 + 49;
    const total = entities + Math.floor(entities / 10);
    expect(seen.at(-1)).toMatchObject({
      status: 'COMPLETED',
      progresssMessage: 'Finished: RESTORE',
      progresssCurrent: total,
      progresssTotal: total,
      backupUrl: url,
    });
    expect(await stateOf(databaseOf(stack), ['repository'])).toEqual(before);
    if (servers.debianPostgres) expect(await pgDump(databaseOf(stack), ['repository'])).toBe(dump);
  });

  test('a bare file name does as well as the URL', async () => {
    const name = url.split('/').at(-1) ?? '';
    const { body } = await start(stack, 'Restore', { url: name });
    expect(body.backupUrl).toBe(url);
    expect(await stack.finished(body.id)).toMatchObject({ status: 'COMPLETED' });
  });

  test('rows that a newer check refuses come back with keepViolations, and the check is named', async () => {
    const database = databaseOf(stack);
    const check = 'ALTER TABLE repository.principal ADD CONSTRAINT newer CHECK (id > 1)';
    await sql(database, `${EMPTY}; ${check}`);
    const refused = await start(stack, 'Restore', { url });
    expect(await stack.finished(refused.body.id)).toMatchObject({
      status: 'FAILED',
      errorMessage: expect.stringMatching(/constraint "newer" .*"keepViolations": true/) as string,
    });
    const kept = await start(stack, 'Restore', { url, keepViolations: true });
    expect(await stack.finished(kept.body.id)).toMatchObject({
      status: 'COMPLETED',
      progresssMessage: expect.stringMatching(
        /\(omitted: the check newer of repository\.principal \(NOT VALID/,
      ) as string,
    });
    await sql(database, 'ALTER TABLE repository.principal DROP CONSTRAINT newer');
  });

  test('tables whose columns changed are restored if the request says how, and the columns are named', async () => {
    const database = databaseOf(stack);
    await sql(
      database,
      'ALTER TABLE repository.principal RENAME name TO label; ALTER TABLE repository.principal ALTER label DROP NOT NULL',
    );
    const options = {
      url,
      tables: ['repository.principal'],
      allowExtraColumns: true,
      dropColumns: ['repository.principal.name'],
    };
    const { body } = await start(stack, 'Restore', options);
    expect(await stack.finished(body.id)).toMatchObject({
      status: 'COMPLETED',
      progresssMessage:
        "Finished: RESTORE (only repository.principal; columns: repository.principal fills label with defaults; repository.principal drops the archive's values of name)",
    });
    await sql(database, 'ALTER TABLE repository.principal RENAME label TO name');
    const again = await start(stack, 'Restore', { url });
    expect(await stack.finished(again.body.id)).toMatchObject({ status: 'COMPLETED' });
  });

  test('a safety net is made first, under the same lock, and told', async () => {
    await sql(databaseOf(stack), "UPDATE repository.node SET name = 'changed ' || id");
    const { body } = await start(stack, 'Restore', { url, backupFirst: true });
    expect(body.safetyBackupUrl).toBeNull();
    const seen = await stack.watch(body.id);
    const last = seen.at(-1);
    expect(last).toMatchObject({
      status: 'COMPLETED',
      backupUrl: url,
      safetyBackupUrl: expect.stringMatching(/BackupDaemonJob\d+-\d+\.zip$/) as unknown,
    });
    expect(last?.safetyBackupUrl).not.toBe(url);
    // The archive of what was there undoes the restore.
    const undone = await start(stack, 'Restore', { url: last?.safetyBackupUrl });
    expect(await stack.finished(undone.body.id)).toMatchObject({ status: 'COMPLETED' });
    expect(
      await sql(databaseOf(stack), "SELECT count(*) FROM repository.node WHERE name LIKE 'changed %'"),
    ).toEqual([{ count: String(NODE_COUNT) }]);
    await stack.finished((await start(stack, 'Restore', { url })).body.id);
  });

  test('some tables come back, or all of them beside the live ones', async () => {
    const database = databaseOf(stack);
    await sql(database, 'TRUNCATE repository.access_grant; DELETE FROM repository.revision WHERE number = 2');
    const some = await start(stack, 'Restore', { url, tables: ['repository.access_grant'] });
    expect(await stack.finished(some.body.id)).toMatchObject({
      status: 'COMPLETED',
      progresssCurrent: 53,
      progresssTotal: 53,
    });
    const beside = await start(stack, 'Restore', {
      url,
      intoSchemas: { repository: 'repository_copy' },
      create: true,
    });
    expect(await stack.finished(beside.body.id)).toMatchObject({ status: 'COMPLETED' });
    expect(
      await sql(
        database,
        `SELECT (SELECT count(*) FROM repository.access_grant) AS grants, (SELECT count(*) FROM repository.revision) AS live,
                (SELECT count(*) FROM repository_copy.revision) AS copied`,
      ),
    ).toEqual([{ grants: '49', live: String(NODE_COUNT), copied: String(2 * NODE_COUNT) }]);
    await sql(database, 'DROP SCHEMA repository_copy CASCADE');

    const dangling = await start(stack, 'Restore', {
      url,
      tables: ['repository.principal', 'repository.nobody'],
    });
    expect(await stack.finished(dangling.body.id)).toMatchObject({
      status: 'FAILED',
      errorMessage:
        'This cannot be restored: the archive holds no table repository.nobody. Nothing was changed.',
    });
    await stack.finished((await start(stack, 'Restore', { url })).body.id);
  });

  async function verificationOf(key: string): Promise<unknown> {
    const record = await store.open(`${key}.verified.json`, new AbortController().signal);
    return JSON.parse(Buffer.concat((await record?.read(0, record.length).toArray()) ?? []).toString());
  }

  test('a verification reads everything, changes nothing and keeps its result', async () => {
    const before = await stateOf(databaseOf(stack), ['repository']);
    for (const restoreDrill of [false, true]) {
      const { body } = await start(stack, 'Verify', { url, restoreDrill });
      expect(await stack.finished(body.id)).toMatchObject({
        type: 'VERIFY',
        status: 'COMPLETED',
        progresssMessage: 'Finished: VERIFY',
        backupUrl: url,
      });
      const key = new URL(url).pathname.replace('/archives/', '');
      expect(await verificationOf(key)).toMatchObject({
        archive: key,
        restorable: true,
        level: restoreDrill ? 'DRILL' : 'FIT',
        entities: 3 * NODE_COUNT + 99,
        daemonId: body.id,
      });
    }
    expect(await stateOf(databaseOf(stack), ['repository'])).toEqual(before);
  });

  test('an archive that is damaged fails both, and its record says so', async () => {
    const key = new URL(url).pathname.replace('/archives/', '');
    const object = await store.open(key, new AbortController().signal);
    const bytes = Buffer.concat((await object?.read(0, object.length).toArray()) ?? []);
    bytes.writeUInt8(bytes.readUInt8(5_000) ^ 0xff, 5_000);
    await putBytes('damaged.zip', bytes);
    const before = await stateOf(databaseOf(stack), ['repository']);
    for (const type of ['Verify', 'Restore'] as const) {
      const { body } = await start(stack, type, { url: 'damaged.zip' });
      const last = await stack.finished(body.id);
      expect(last).toMatchObject({
        status: 'FAILED',
        errorMessage: expect.stringMatching(
          /^This is not a complete snapshotd archive: the entry data\/repository\.\w+\/000001\.csv is damaged\./,
        ) as unknown,
      });
      expect(last.errorDetails).toMatch(/^Failure \[ARCHIVE_INVALID\]/);
    }
    expect(await stateOf(databaseOf(stack), ['repository'])).toEqual(before);
    expect(await verificationOf('damaged.zip')).toMatchObject({
      restorable: false,
      reason: expect.stringContaining('is damaged') as unknown,
    });
  });

  test('a backup waits while a restore has the repository, and says for what', async () => {
    const holder = new pg.Client({
      connectionString: databaseOf(stack),
      application_name: 'snapshotd restore 99 0123abcd',
    });
    await holder.connect();
    await holder.query("SELECT pg_advisory_lock('8317692697400340340')");
    const { id } = await stack.startBackup();
    const waiting = (
      await stack.watch(id, ({ progresssMessage }) =>
        progresssMessage.startsWith('Waiting for the repository lock: held by '),
      )
    ).at(-1);
    expect(waiting?.progresssMessage).toMatch(
      /^Waiting for the repository lock: held by snapshotd restore 99 0123abcd \(role snapshotd, address 127\.0\.0\.1, pid \d+\)$/,
    );
    await holder.end();
    expect(await stack.finished(id)).toMatchObject({ status: 'COMPLETED' });
  });

  describe('terminating', () => {
    const NAMES = { Backup: 'Backup', Restore: 'Restore', Verify: 'Verify' } as const;

    test('a queued one never starts, and looks ended at once', async () => {
      for (const worker of stack.workers.splice(0)) await worker.stop();
      const { id } = await stack.startBackup();
      expect(await terminate(stack, id)).toMatchObject({ status: 204, body: '' });
      const ended = await stack.status(id);
      expect(ended).toMatchObject({
        status: 'FAILED',
        errorMessage: 'Backup terminated by the user',
        progresssMessage: 'Starting...',
        backupUrl: null,
      });
      await stack.startWorker();
      const next = await stack.startBackup();
      expect(await stack.finished(next.id)).toMatchObject({ status: 'COMPLETED' });
      expect(await stack.status(id)).toEqual(ended);
    });

    test('one that has ended stays as it is, and an unknown one is a 404', async () => {
      const finished = await backedUp(stack);
      expect((await terminate(stack, finished.id)).status).toBe(204);
      expect((await terminate(stack, finished.id)).status).toBe(204);
      expect(await stack.status(finished.id)).toEqual(finished);
      for (const id of ['999999', '0', 'x', '__proto__'])
        expect(await terminate(stack, id)).toMatchObject({
          status: 404,
          body: { reason: 'There is no daemon of this id.' },
        });
      expect(
        (await stack.call('DELETE', `/repo/v1/terminateDaemon/${finished.id}`, undefined, {})).status,
      ).toBe(401);
    });

    /** Starts it while somebody holds a table, so that it is sure to be running when it is told to end. */
    test.each(['Backup', 'Restore'] as const)(
      'a %s that waits for a lock stops within two seconds, and the worker takes the next',
      async (type) => {
        const holder = new pg.Client(databaseOf(stack));
        await holder.connect();
        await holder.query('BEGIN; LOCK TABLE repository.revision IN ACCESS EXCLUSIVE MODE');
        const { id } =
          type === 'Backup' ? await stack.startBackup() : (await start(stack, 'Restore', { url })).body;
        await stack.watch(id, ({ progresssMessage }) => progresssMessage.startsWith('Waiting for table'));
        const told = Date.now();
        expect((await terminate(stack, id)).status).toBe(204);
        const last = await stack.finished(id);
        expect(last).toMatchObject({
          status: 'FAILED',
          errorMessage: `${NAMES[type]} terminated by the user`,
        });
        expect(last.errorDetails).toMatch(/^Failure \[TERMINATED\]/);
        expect(Date.now() - told).toBeLessThan(10_000); // Two seconds, and room for a slow machine.
        await holder.end();
        await backedUp(stack);
      },
    );

    describe('in the middle of a long table', () => {
      // PostgreSQL copies a compressed value as it is, so that many rows cost little.
      const FEW_ROWS =
        'CREATE TABLE repository.long AS SELECT i, repeat(md5(i::text), 300) AS t FROM generate_series(1, 10) i';
      const moreRows = (count: number) =>
        `INSERT INTO repository.long SELECT i + 10 * n, t FROM repository.long, generate_series(1, ${count / 10 - 1}) n`;
      let backupUrl: string;
      beforeAll(async () => {
        await sql(databaseOf(stack), FEW_ROWS);
        await sql(databaseOf(stack), moreRows(20_000));
        ({ backupUrl } = await backedUp(stack));
        await sql(databaseOf(stack), 'DELETE FROM repository.long WHERE i > 10');
      });
      afterAll(() => sql(databaseOf(stack), 'DROP TABLE repository.long'));

      test.each(['Restore', 'Verify', 'Backup'] as const)('a %s stops, and leaves nothing', async (type) => {
        if (type === 'Backup') await sql(databaseOf(stack), moreRows(60_000));
        const before = type === 'Backup' ? undefined : await stateOf(databaseOf(stack), ['repository']);
        const { id } =
          type === 'Backup'
            ? await stack.startBackup()
            : (await start(stack, type, { url: backupUrl, ...(type === 'Verify' && { restoreDrill: true }) }))
                .body;
        await stack.watch(id, ({ progresssCurrent }) => progresssCurrent > 30);
        await terminate(stack, id);
        const last = await stack.finished(id);
        expect(last).toMatchObject({
          status: 'FAILED',
          errorMessage: `${NAMES[type]} terminated by the user`,
        });
        if (before !== undefined) expect(await stateOf(databaseOf(stack), ['repository'])).toEqual(before);
        const [left] = await sql<{ n: string }>(
          databaseOf(stack),
          "SELECT count(*) AS n FROM pg_stat_activity WHERE application_name LIKE 'snapshotd %' || $1 || '%' AND datname = current_database() AND state <> 'idle'",
          [id],
        );
        expect(left?.n).toBe('0');
      });
    });

    test('one that races with the end is one of the two', async () => {
      for (let delay = 0; delay < 200; delay += 20) {
        const { id } = await stack.startBackup();
        await new Promise((resolve) => setTimeout(resolve, delay));
        await terminate(stack, id);
        const last = await stack.finished(id);
        if (last.status === 'COMPLETED')
          expect(last).toMatchObject({
            errorMessage: null,
            errorDetails: null,
            backupUrl: expect.any(String) as unknown,
          });
        else
          expect(last).toMatchObject({
            status: 'FAILED',
            errorMessage: 'Backup terminated by the user',
            backupUrl: null,
          });
        expect(await stack.status(id)).toEqual(last);
      }
    });
  });
});
