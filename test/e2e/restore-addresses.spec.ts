import type { DaemonStatus } from '#contracts';
import { servers } from '../support/servers.js';
import { Stack } from '../support/stack.js';

const start = (stack: Stack, type: 'Restore' | 'Verify', body: object) =>
  stack.call<DaemonStatus & { reason: string }>('POST', `/repo/v1/start${type}Daemon`, body);

describe('addresses that are refused', () => {
  let stack: Stack;
  beforeAll(async () => {
    stack = await Stack.start({ workers: 0, env: { S3_PREFIX: 'nightly/' } });
  });
  afterAll(() => stack.stop());

  test.each<[unknown, RegExp]>([
    [undefined, /^url: the url must be a text/],
    [7, /^url: the url must be a text/],
    ['', /^url: the url must be a text/],
    ['../secret.zip', /it is neither a URL nor the name of a \.zip file/],
    ['a/../b.zip', /it is neither a URL nor the name of a \.zip file/],
    ['archive.tar', /it is neither a URL nor the name of a \.zip file/],
    ['https://example.org/archives/a.zip', /it leads to another host or bucket/],
    ['ENDPOINT/other/a.zip', /it leads to another host or bucket/],
    ['ENDPOINT/archives/../other/a.zip', /its path leads to no \.zip file in the bucket/],
    ['ENDPOINT/archives/%2e%2e/other/a.zip', /its path leads to no \.zip file in the bucket/],
    ['ENDPOINT/archives/nightly//a.zip', /its path leads to no \.zip file in the bucket/],
    ['ENDPOINT/archives/a.zip', /it does not lie below S3_PREFIX, which is nightly\//],
    ['ENDPOINT/archives/nightly.zip', /it does not lie below S3_PREFIX/],
    ['ENDPOINT/archives/nightly-too/a.zip', /it does not lie below S3_PREFIX/],
    ['ENDPOINT/archives/nightly/fo%0Alder/a.zip', /it holds a control character/],
    ['ENDPOINT/archives/nightly/fo\tlder/a.zip', /it holds a control character/],
    ['a\n.zip', /it holds a control character/],
    [`${'a'.repeat(1_013)}.zip`, /its key has 1025 bytes, and S3 takes 1024/],
    ['ENDPOINT/archives/a.zip?versionId=1', /it has a query or a fragment/],
    ['ENDPOINT/archives/%zz.zip', /its percent-encoding is broken/],
    ['http://user:pw@127.0.0.1/archives/a.zip', /it holds credentials/],
    ['file:///etc/passwd', /it leads to another host or bucket/],
  ])('%j', async (address, reason) => {
    const url = typeof address === 'string' ? address.replace('ENDPOINT', servers.s3.endpoint) : address;
    for (const type of ['Restore', 'Verify'] as const) {
      const { status, body } = await start(stack, type, { url });
      expect({ status, reason: body.reason }).toEqual({
        status: 400,
        reason: expect.stringMatching(reason) as unknown,
      });
    }
  });

  test('a bare name is looked for where backups go', async () => {
    const { body } = await start(stack, 'Verify', { url: 'a.zip' });
    expect(body.backupUrl).toBe(`${servers.s3.endpoint}/archives/nightly/a.zip`);
  });

  test('unknown options', async () => {
    expect(await start(stack, 'Restore', { url: 'a.zip', allowExtraTable: true })).toMatchObject({
      status: 400,
      body: { reason: 'Unrecognized key: "allowExtraTable".' },
    });
    expect(await start(stack, 'Verify', { url: 'a.zip', backupFirst: true })).toMatchObject({ status: 400 });
    for (const [body, reason] of [
      [{ tables: [] }, /^tables: name at least one table/],
      [{ dropColumns: [] }, /^dropColumns: name at least one column/],
      [{ create: true }, /^create: tables are created in other schemas only/],
      [
        { intoSchemas: { repository: 'a' }, create: true, allowExtraColumns: true },
        /^create: created tables have/,
      ],
      [{ intoSchemas: {} }, /^intoSchemas: name at least one schema/],
      [
        { intoSchemas: { repository: 'repository' } },
        /^intoSchemas: repository is in the schemas of the repository/,
      ],
      [
        { intoSchemas: { repository: 'snapshotd' } },
        /^intoSchemas\.repository: names snapshotd, where snapshotd keeps/,
      ],
      [
        { intoSchemas: { repository: 'pg_catalog' } },
        /^intoSchemas\.repository: names PostgreSQL's own schema/,
      ],
      [{ intoSchemas: { repository: 'a'.repeat(64) } }, /^intoSchemas\.repository: holds a name/],
      [{ intoSchemas: { repository: 'a' }, backupFirst: true }, /^backupFirst: a restore into other schemas/],
    ] as const) {
      const answer = await start(stack, 'Restore', { url: 'a.zip', ...body });
      expect(answer.status).toBe(400);
      expect(answer.body.reason).toMatch(reason);
    }
  });
});
