import { randomBytes } from 'node:crypto';
import { buffer } from 'node:stream/consumers';
import { type DaemonStatus, type KeyScope, type ScheduleView } from '#contracts';
import { CommandLine } from '../support/command-line.js';
import { EventStream } from '../support/event-stream.js';
import { eventually } from '../support/eventually.js';
import { Receiver } from '../support/receiver.js';
import { oneOf, openStore, queues, servers, sql } from '../support/servers.js';
import { Stack } from '../support/stack.js';

/** A value of a row. */
const VALUE = 'swordfish';

describe.each(oneOf(queues, 0))('on the %s queue a value of a row in a message', (_title, queueUrl) => {
  const prefix = `values-${randomBytes(4).toString('hex')}/`;
  const keys = new Map<KeyScope, string>();
  let receiver: Receiver;
  let stack: Stack;
  let failed: DaemonStatus;
  let events: EventStream;

  /** Makes every further row of the table fail, by something that is not part of its definition. */
  const raise = (code: string) =>
    sql(
      stack.env['DATABASE_URL'] ?? '',
      `CREATE OR REPLACE FUNCTION repository.same(v text) RETURNS text IMMUTABLE LANGUAGE plpgsql AS $$
         BEGIN RAISE EXCEPTION 'no %', v USING ERRCODE = '${code}'; END $$`,
    );
  const as = async <Body = string>(scope: KeyScope, method: string, path: string, body?: object) =>
    stack.call<Body>(method, path, body, { sessionToken: keys.get(scope) ?? '' });

  beforeAll(async () => {
    receiver = await Receiver.start();
    stack = await Stack.start({
      queueUrl,
      env: {
        S3_PREFIX: prefix,
        BACKUP_DEFINITIONS: 'required',
        WEBHOOK_URLS: `http://${receiver.host}/`,
        WEBHOOK_SECRET: 'webhook-secret-of-this-test',
      },
    });
    for (const scope of ['read', 'start', 'everything'] as const) {
      const { body } = await stack.call<{ key: string }>('POST', '/auth/v1/keys', { name: scope, scope });
      keys.set(scope, body.key);
    }
    await sql(
      stack.env['DATABASE_URL'] ?? '',
      `CREATE FUNCTION repository.same(v text) RETURNS text IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN RETURN v; END $$;
       CREATE TABLE repository.things (v text); INSERT INTO repository.things VALUES ('${VALUE}');
       CREATE INDEX ON repository.things (repository.same(v))`,
    );
    const { backupUrl } = await stack.finished((await stack.startBackup()).id);
    await raise('serialization_failure');
    const { body } = await stack.call<DaemonStatus>('POST', '/repo/v1/startRestoreDaemon', {
      url: backupUrl,
    });
    events = await EventStream.open(stack, body.id, keys.get('read'));
    failed = await stack.finished(body.id);
  }, 60_000);
  afterAll(async () => {
    await stack.stop();
    receiver.stop();
  });

  test('is shown in a session and to keys of the scope everything', async () => {
    expect(failed).toMatchObject({ status: 'FAILED' });
    const statuses = [
      failed,
      (await as<DaemonStatus>('everything', 'GET', `/repo/v1/daemonStatus/${failed.id}`)).body,
      ...(await EventStream.open(stack, failed.id, keys.get('everything')).then(async (stream) => {
        await stream.ended;
        return stream.statuses;
      })),
    ];
    expect(statuses).toHaveLength(3);
    for (const { errorMessage, errorDetails } of statuses) {
      expect(errorMessage).toMatch(/, loading repository\.things, says: no swordfish \(SQLSTATE 40001\)\./);
      expect(errorDetails).toMatch(
        /^ERROR: no swordfish\nCONTEXT: PL\/pgSQL function repository\.same\(text\)[^]*\nFailure \[DATABASE_QUERY_FAILED\]: /,
      );
    }
    for (const path of ['/repo/v1/daemons', '/admin/daemons', `/admin/daemons/${failed.id}`])
      expect(JSON.stringify((await stack.call('GET', path)).body)).toContain('says: no swordfish');
    expect(JSON.stringify((await as('everything', 'GET', '/repo/v1/daemons')).body)).toContain(VALUE);
  });

  test('is shown to no other key: not in the status, the list, the events, the dashboard or the metrics', async () => {
    await events.ended;
    const messages = events.statuses.map(({ progresssMessage }) => progresssMessage);
    expect(messages).toContainEqual(
      expect.stringMatching(/^Attempt 1 of 3 failed: .* says: serialization_failure; .* Trying again\.$/),
    );
    const shown: unknown[] = [events.text];
    for (const scope of ['read', 'start'] as const) {
      const { body } = await as<DaemonStatus>(scope, 'GET', `/repo/v1/daemonStatus/${failed.id}`);
      expect(body.errorMessage).toMatch(
        /, loading repository\.things, says: serialization_failure; the scope everything shows the full text \(SQLSTATE 40001\)\./,
      );
      expect(body.errorDetails).toMatch(/^Failure \[DATABASE_QUERY_FAILED\]: /);
      shown.push(body);
      for (const path of ['/repo/v1/daemons', '/repo/v1/backups', '/repo/v1/audit', '/metrics'])
        shown.push((await as(scope, 'GET', path)).body);
      for (const path of ['', '/api/queues?activeQueue=daemons', `/api/queues/daemons/${failed.id}`])
        expect((await as(scope, 'GET', `/admin/queues${path}`)).status).toBe(403);
    }
    expect(JSON.stringify(shown)).not.toContain(VALUE);
  });

  test('is shown by a failed drill to a session, and not for its start that is sent again by a key that may only start', async () => {
    await sql(
      stack.env['DATABASE_URL'] ?? '',
      `CREATE OR REPLACE FUNCTION repository.same(v text) RETURNS text IMMUTABLE LANGUAGE sql AS 'SELECT v';
       ALTER TABLE repository.things ADD CHECK (repository.same(v) <> '')`,
    );
    await raise('raise_exception');
    const { backupUrl } = await stack.finished((await stack.startBackup()).id);
    const body = { url: backupUrl, restoreDrill: true };
    const start = (sessionToken = '') =>
      stack.call<DaemonStatus>('POST', '/repo/v1/startVerifyDaemon', body, {
        sessionToken,
        'Idempotency-Key': 'again',
      });
    const { id } = (await start(stack.sessionToken)).body;
    expect(await stack.finished(id)).toMatchObject({
      status: 'FAILED',
      errorMessage: expect.stringContaining(VALUE),
    });
    const again = await start(keys.get('start'));
    // A drill takes more than that key has, also when it was begun.
    expect(again.status).toBe(403);
    expect(JSON.stringify(again.body)).not.toContain(VALUE);
  });

  test('is shown at the command line to whom the API shows it', async () => {
    const said = async (scope: KeyScope) => {
      const user = new CommandLine({ SNAPSHOTD_URL: stack.url, SNAPSHOTD_TOKEN: keys.get(scope) ?? '' });
      const { stdout } = await user.run(['status', failed.id]);
      return stdout;
    };
    expect(await said('everything')).toContain('no swordfish');
    expect(await said('read')).toMatch(/serialization_failure/);
    expect(await said('read')).not.toContain(VALUE);
  });

  test('is not shown by a schedule to anybody', async () => {
    await stack.call('PUT', '/repo/v1/schedules/often', { pattern: '* * * * * *', then: 'restoreDrill' });
    const lastRun = await eventually(async () => {
      const { body } = await stack.call<ScheduleView>('GET', '/repo/v1/schedules/often');
      return body.lastRun?.status === 'FAILED' && body.lastRun;
    });
    await stack.call('DELETE', '/repo/v1/schedules/often');
    expect(lastRun.errorMessage).toMatch(/^The verification failed: .* says: raise_exception; /);
    expect(lastRun.errorMessage).not.toContain(VALUE);
  });

  test('is in no webhook, no log and nothing in the bucket but the archives', async () => {
    const [told] = await receiver.until(1, ({ body }) => body.includes(`"id":"${failed.id}"`));
    expect(told?.body).toContain('serialization_failure');
    expect(JSON.stringify(receiver.received)).not.toContain(VALUE);
    expect(stack.logs()).toContain('serialization_failure');
    expect(stack.logs()).not.toContain(VALUE);
    const store = openStore(servers.s3);
    for await (const object of store.list(prefix, AbortSignal.timeout(10_000)))
      if (!object.key.endsWith('.zip'))
        expect(
          String(await buffer(store.openListed(object, AbortSignal.timeout(10_000)).read(0, object.bytes))),
        ).not.toContain(VALUE);
    store.close();
  });
});
