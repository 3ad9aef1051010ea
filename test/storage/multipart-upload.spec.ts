import { S3Proxy } from '../support/s3-proxy.js';
import { openStore, servers } from '../support/servers.js';

const signal = new AbortController().signal;
const SMALL = 1_024;

test('an upload keeps to the limits of the store: equal parts, then growing ones, then a failure', async () => {
  const proxy = await S3Proxy.to(servers.s3.endpoint);
  const sizes = new Map<number, number>();
  proxy.fault = ({ operation, what, bytes }) => {
    if (operation === 'UploadPart') sizes.set(Number(/partNumber=(\d+)/.exec(what)?.[1]), bytes);
    return undefined;
  };
  const store = openStore(
    { ...servers.s3, endpoint: proxy.url },
    { maxParts: 100, partBytes: SMALL, retryForMs: 0 },
  );
  const upload = await store.startUpload('parts/a.zip', signal);
  await expect(
    (async () => {
      for (;;) await upload.write(Buffer.alloc(100_000));
    })(),
  ).rejects.toMatchObject({
    code: 'ARCHIVE_TOO_LARGE',
    message: expect.stringMatching(/^The archive parts\/a\.zip needs more than the 100 parts /),
    hint: 'Set S3_PART_BYTES higher.',
  });
  await upload.abort();
  const inOrder = [...sizes].toSorted(([a], [b]) => a - b).map(([, bytes]) => bytes);
  expect(inOrder.slice(0, 80)).toEqual(Array(80).fill(SMALL));
  expect(inOrder.slice(80, 84)).toEqual([2, 2, 4, 4].map((times) => times * SMALL));
  // The parts in flight are aborted with the upload.
  expect(inOrder.length).toBeGreaterThan(96);
  expect(Math.max(...sizes.keys())).toBeLessThanOrEqual(100);
  store.close();
  await proxy.close();
});
