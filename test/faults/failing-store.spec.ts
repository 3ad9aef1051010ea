import type { DaemonStatus } from '#contracts';
import { whatIsThere } from '../support/bucket.js';
import { FollowedDaemon } from '../support/followed-daemon.js';
import { type S3Fault, S3Proxy, type S3Request } from '../support/s3-proxy.js';
import { describeOnSwift, queues, sql, swift } from '../support/servers.js';
import { Stack } from '../support/stack.js';

describeOnSwift.each(queues)('with the %s queue, a backup whose object store', (_title, queueUrl) => {
  let proxy: S3Proxy;
  let stack: Stack;
  const keyPrefix = `failing-${Date.now()}-${queues.findIndex(([, url]) => url === queueUrl)}/`;

  beforeAll(async () => {
    proxy = await S3Proxy.to(swift().endpoint);
    stack = await Stack.start({
      queueUrl,
      env: {
        S3_ENDPOINT: proxy.url,
        S3_PREFIX: keyPrefix,
        ...swift().owner,
        // No retries within an attempt, and all jobs in parallel, so that only the attempts count.
        RETRY_SECONDS: '0',
        WORKER_CONCURRENCY: '8',
      },
    });
  });
  afterAll(async () => {
    await stack.stop();
    await proxy.close();
  });

  /** The number of attempts of a job. */
  const attempts = (id: string) =>
    stack.logs().split(new RegExp(`"daemon":"${id}".*"msg":"Started"`)).length - 1;

  /** Makes a backup for each way to fail, all at once; each way is told which attempt it is. */
  async function backups(ways: ((request: S3Request, attempt: number) => S3Fault | undefined)[]) {
    const first = Number((await stack.startBackup()).id) + 1;
    await stack.finished(String(first - 1));
    proxy.fault = (request) => {
      const id = /BackupDaemonJob(\d+)-/.exec(request.what)?.[1] ?? '';
      return ways[Number(id) - first]?.(request, attempts(id));
    };
    const daemons: FollowedDaemon[] = [];
    while (daemons.length < ways.length)
      daemons.push(new FollowedDaemon(stack, (await stack.startBackup()).id));
    const ended = await Promise.all(daemons.map((daemon) => daemon.ended()));
    await Promise.all(daemons.map((daemon) => daemon.stop()));
    proxy.fault = () => undefined;
    return daemons.map((daemon, index) => ({
      id: daemon.id,
      last: ended[index] as DaemonStatus,
      begun: attempts(daemon.id),
      failedAttempts: [...new Set(daemon.messages.filter((message) => message.startsWith('Attempt')))],
    }));
  }

  test('fails for reasons that may pass is tried three times in all, and its status tells each', async () => {
    const internal = { status: 500, code: 'InternalError' };
    // An attempt ends with the first request that fails, which may be sooner than the worker's log says that it began.
    let slowedDown = 0;
    const ways = await backups([
      () => internal,
      () => (slowedDown++ < 2 ? { status: 503, code: 'SlowDown' } : undefined),
      ({ operation }, attempt) =>
        operation === 'UploadPart' && attempt < 3 ? { status: 429, code: 'TooManyRequests' } : undefined,
      ({ operation }, attempt) => (operation === 'UploadPart' && attempt < 2 ? 'cut request' : undefined),
      ({ operation }, attempt) =>
        operation === 'CompleteMultipartUpload' && attempt < 2 ? internal : undefined,
      ({ operation }, attempt) =>
        operation === 'CompleteMultipartUpload' && attempt < 2
          ? { status: 409, code: 'BrokenMPU' }
          : undefined,
      ({ operation }, attempt) =>
        operation === 'UploadPart' && attempt < 2 ? { status: 404, code: 'NoSuchUpload' } : undefined,
    ]);
    const said = (number: number, what: string): unknown =>
      expect.stringMatching(new RegExp(`^Attempt ${number} of 3 failed: The .*${what}.* Trying again\\.$`));
    expect(ways.map(({ last, begun, failedAttempts }) => [last.status, begun, failedAttempts])).toEqual([
      ['FAILED', 3, [said(1, '500 InternalError'), said(2, '500 InternalError')]],
      ['COMPLETED', 3, [said(1, '503 SlowDown'), said(2, '503 SlowDown')]],
      ['COMPLETED', 3, [said(1, '429 TooManyRequests'), said(2, '429 TooManyRequests')]],
      ['COMPLETED', 2, [said(1, 'cannot be reached')]],
      ['COMPLETED', 2, [said(1, '500 InternalError')]],
      ['COMPLETED', 2, [said(1, '409 BrokenMPU')]],
      ['COMPLETED', 2, [said(1, 'NoSuchUpload')]],
    ]);
    expect(ways[0]?.last).toMatchObject({
      errorMessage: expect.stringMatching(/the object store answered 500 InternalError/),
      errorDetails: expect.stringMatching(
        /^Status Code: 500, AWS Request ID: fault, AWS Error Code: InternalError\n/,
      ),
      backupUrl: null,
    });
    for (const { id, last } of ways)
      expect(await whatIsThere(`${keyPrefix}BackupDaemonJob${id}-`)).toEqual({
        objects: last.backupUrl === null ? [] : [keyPrefix + (last.backupUrl.split('/').at(-1) ?? '')],
        uploads: [],
      });
  });

  test('refuses it fails at once, in its only attempt, at every operation', async () => {
    const denied = { status: 403, code: 'AccessDenied' };
    const refusing = (operation: S3Request['operation'], fault: S3Fault) => (request: S3Request) =>
      request.operation === operation ? fault : undefined;
    const ways = await backups([
      refusing('CreateMultipartUpload', denied),
      refusing('UploadPart', denied),
      refusing('CompleteMultipartUpload', denied),
      refusing('CreateMultipartUpload', { status: 404, code: 'NoSuchBucket' }),
      refusing('CreateMultipartUpload', { status: 403, code: 'InvalidAccessKeyId' }),
    ]);
    const codes = ways.map(({ last }) => /^Failure \[(\w+)\]/m.exec(last.errorDetails ?? '')?.[1]);
    expect(codes).toEqual([
      'STORE_ACCESS_DENIED',
      'STORE_ACCESS_DENIED',
      'STORE_ACCESS_DENIED',
      'STORE_BUCKET_MISSING',
      'STORE_LOGIN_REFUSED',
    ]);
    for (const { id, last, begun, failedAttempts } of ways) {
      expect([last.status, begun, failedAttempts]).toEqual(['FAILED', 1, []]);
      expect(await whatIsThere(`${keyPrefix}BackupDaemonJob${id}-`)).toEqual({ objects: [], uploads: [] });
    }
  });

  test('is well fails at once, in its only attempt, when the rest cannot be put right by trying again', async () => {
    const backedUp = await stack.finished((await stack.startBackup()).id);
    await sql(stack.env['DATABASE_URL'] ?? '', 'ALTER TABLE repository.principal ADD COLUMN other text');
    const { body } = await stack.call<DaemonStatus>('POST', '/repo/v1/startRestoreDaemon', {
      url: backedUp.backupUrl,
    });
    const seen = await stack.watch(body.id);
    expect(seen.at(-1)).toMatchObject({
      status: 'FAILED',
      errorDetails: expect.stringMatching(/^Failure \[ARCHIVE_DOES_NOT_FIT\]/),
    });
    expect(seen.filter(({ progresssMessage }) => progresssMessage.startsWith('Attempt'))).toEqual([]);
    expect(attempts(body.id)).toBe(1);
  });
});
