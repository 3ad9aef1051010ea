import { ListMultipartUploadsCommand, S3Client } from '@aws-sdk/client-s3';
import type { DaemonStatus } from '#contracts';
import { eventually } from '../support/eventually.js';
import { Proxy } from '../support/proxy.js';
import { S3Proxy } from '../support/s3-proxy.js';
import { describeOnSwift, servers, sql, swift } from '../support/servers.js';
import { Stack } from '../support/stack.js';

const LONG = `CREATE TABLE repository.long AS
  SELECT i, sha512(i::text::bytea) AS a, sha512((-i)::text::bytea) AS b FROM generate_series(1, 200000) i`;
const database = (stack: Stack) => stack.env['DATABASE_URL'] ?? '';

describeOnSwift('an S3 server that stalls', () => {
  test('does not hold up the end of a backup, and its upload is removed when it answers again', async () => {
    const proxy = await Proxy.to(swift().endpoint);
    const prefix = `stalling-${Date.now()}/`;
    const stack = await Stack.start({ env: { S3_ENDPOINT: proxy.url, S3_PREFIX: prefix, ...swift().owner } });
    await sql(database(stack), LONG);
    const { id } = await stack.startBackup();
    await stack.watch(id, ({ progresssCurrent }) => progresssCurrent > 0);
    proxy.stall();
    const told = Date.now();
    await stack.call('DELETE', `/repo/v1/terminateDaemon/${id}`);
    expect(await stack.finished(id)).toMatchObject({
      status: 'FAILED',
      errorMessage: 'Backup terminated by the user',
    });
    expect(Date.now() - told).toBeLessThan(15_000); // A stalled request by itself ends after a minute.
    proxy.resume();
    const client = new S3Client({
      endpoint: swift().endpoint,
      region: 'us-east-1',
      forcePathStyle: true,
      credentials: { accessKeyId: 'test:tester', secretAccessKey: 'testing' },
    });
    const uploads = async () =>
      (await client.send(new ListMultipartUploadsCommand({ Bucket: 'archives', Prefix: prefix }))).Uploads ??
      [];
    await eventually(async () => (await uploads()).length === 0, 200);
    expect(stack.logs()).toContain('continues in the background');
    client.destroy();
    await stack.stop();
    await proxy.close();
  });
});

test('a restore reads on where its connection broke', async () => {
  const proxy = await Proxy.to(servers.s3.endpoint);
  const stack = await Stack.start({ env: { S3_ENDPOINT: proxy.url } });
  await sql(database(stack), LONG);
  const { id } = await stack.startBackup();
  const backedUp = await stack.finished(id);
  expect(backedUp.status).toBe('COMPLETED');
  await sql(database(stack), 'TRUNCATE repository.long');
  proxy.breakAfterBytes = 3_000_000;
  const { body } = await stack.call<DaemonStatus>('POST', '/repo/v1/startRestoreDaemon', {
    url: backedUp.backupUrl,
  });
  expect(await stack.finished(body.id)).toMatchObject({ status: 'COMPLETED', progresssTotal: 220_000 });
  expect(proxy.broken).toBeGreaterThan(3);
  expect(await sql(database(stack), 'SELECT count(*), count(DISTINCT a) AS a FROM repository.long')).toEqual([
    { count: '200000', a: '200000' },
  ]);
  await stack.stop();
  await proxy.close();
});

test('an object store that has no time is waited for, and the status says so beside its numbers', async () => {
  const proxy = await S3Proxy.to(servers.s3.endpoint);
  const stack = await Stack.start({ env: { S3_ENDPOINT: proxy.url } });
  await sql(database(stack), LONG);
  proxy.fault = ({ operation }) =>
    operation === 'UploadPart' ? { status: 503, code: 'SlowDown' } : undefined;
  const { id } = await stack.startBackup();
  const seen = await stack.watch(id, ({ progresssMessage }) => progresssMessage.includes('waiting for'));
  expect(seen.at(-1)).toMatchObject({
    status: 'IN_PROGRESS',
    progresssMessage: expect.stringMatching(/^\w.*, waiting for the object store: 503 SlowDown \(try \d\)$/),
    progresssTotal: 220_000,
  });
  expect(seen.at(-1)?.progresssCurrent).toBeGreaterThan(0);
  proxy.fault = () => undefined;
  seen.push(...(await stack.watch(id)));
  expect(seen.at(-1)).toMatchObject({ status: 'COMPLETED', progresssTotal: 220_000 });
  const numbers = seen.map(({ progresssCurrent }) => progresssCurrent);
  expect(numbers).toEqual(numbers.toSorted((a, b) => a - b));
  await stack.stop();
  await proxy.close();
});
