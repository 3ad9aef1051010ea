import type { ObjectStore } from '#storage';
import { whatIsThere } from '../support/bucket.js';
import { runBackup, runRestore, runVerify } from '../support/heart.js';
import { contentsOf, largeTable } from '../support/large-table.js';
import { S3_FAULTS, S3Proxy } from '../support/s3-proxy.js';
import { describeOnSwift, openStore, sql, swift } from '../support/servers.js';

describeOnSwift('an object store that fails', () => {
  let proxy: S3Proxy;
  let store: ObjectStore;

  beforeAll(async () => {
    proxy = await S3Proxy.to(swift().endpoint);
    store = openStore({ endpoint: proxy.url, credentials: swift().owner });
  });
  afterAll(async () => {
    store.close();
    await proxy.close();
  });

  test('once at every request, in all ways in turn, only holds up a backup, a verification and a restore', async () => {
    const url = await largeTable();
    const before = await contentsOf(url);
    const failed = proxy.failEachOnce((number) => S3_FAULTS[number % S3_FAULTS.length]);
    const keyPrefix = `faults-${Date.now()}/`;
    const { key } = await runBackup(store, url, ['s'], { keyPrefix });
    expect(await whatIsThere(keyPrefix)).toEqual({ objects: [key], uploads: [] });
    await runVerify(store, url, ['s'], key);
    await sql(url, 'TRUNCATE s.t');
    await runRestore(store, url, ['s'], key);
    expect(await contentsOf(url)).toEqual(before);
    expect(failed()).toBeGreaterThan(10);
  });

  test('and begins an upload of a backup that is ended meanwhile keeps nothing of it', async () => {
    proxy.requests.length = 0;
    const stop = new AbortController();
    proxy.fault = ({ operation }) => {
      if (operation === 'CreateMultipartUpload') stop.abort(new Error('ended'));
      return undefined;
    };
    const keyPrefix = `begun-${Date.now()}/`;
    let later: Promise<void> | undefined;
    const backup = runBackup(store, 'postgres://127.0.0.1:1/never-asked', ['s'], {
      keyPrefix,
      signal: stop.signal,
      finishLater: (_what, work) => {
        later = work;
      },
    });
    await expect(backup).rejects.toThrow('ended');
    await later;
    expect(proxy.count('AbortMultipartUpload')).toBe(1);
    expect(await whatIsThere(keyPrefix)).toEqual({ objects: [], uploads: [] });
  });

  test.each([
    [403, 'AccessDenied', 'STORE_ACCESS_DENIED'],
    [404, 'NoSuchBucket', 'STORE_BUCKET_MISSING'],
    [403, 'InvalidAccessKeyId', 'STORE_LOGIN_REFUSED'],
  ])('is not asked again when it says %s %s', async (status, code, failure) => {
    proxy.requests.length = 0;
    proxy.fault = () => ({ status, code });
    await expect(runBackup(store, 'postgres://127.0.0.1:1/never-asked', ['s'])).rejects.toMatchObject({
      code: failure,
      persistence: 'permanent',
    });
    expect(proxy.requests).toHaveLength(1);
  });
});
