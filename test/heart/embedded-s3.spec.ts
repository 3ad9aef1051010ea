import { randomBytes } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3';
import { EmbeddedS3, freePort, ServerProcess } from '../../dev/index.js';
import type { ObjectStore } from '#storage';
import { openStore, servers } from '../support/servers.js';

const Bucket = 'archives';
const MiB = 1024 * 1024;
const signal = new AbortController().signal;

describe('the embedded S3 server', () => {
  const options = () => ({ folder: join(servers.folder, randomBytes(4).toString('hex')), bucket: Bucket });

  test('keeps objects and accounts when it starts again, and nothing that was not finished', async () => {
    const { folder } = options();
    const bytes = randomBytes(10 * MiB);
    const keeps = async (work: (store: ObjectStore) => Promise<void>) => {
      const server = await EmbeddedS3.start({ folder, bucket: Bucket });
      const credentials = EmbeddedS3.credentials(folder);
      const store = openStore({ endpoint: server.endpoint, credentials });
      await work(store);
      store.close();
      await server.stop();
      return credentials;
    };
    const before = await keeps(async (store) => {
      const upload = await store.startUpload('a/b.zip', signal);
      await upload.write(bytes);
      await upload.complete();
      await store.put('a/b.zip.verified', 'yes', 'text/plain', signal);
      await (await store.startUpload('unfinished', signal)).write(bytes);
      await store.put('deleted', 'x', 'text/plain', signal);
      await store.delete('deleted');
    });
    writeFileSync(join(folder, 'buckets', Bucket, 'objects', 'x.json.new'), 'half a rec');
    // Neither is a bucket, nor anything to fail for.
    writeFileSync(join(folder, 'buckets', '.DS_Store'), 'stray');
    mkdirSync(join(folder, 'buckets', 'A stray folder'));
    const after = await keeps(async (store) => {
      const keys: string[] = [];
      for await (const { key } of store.list('', signal)) keys.push(key);
      expect(keys).toEqual(['a/b.zip', 'a/b.zip.verified']);
      const object = await store.open('a/b.zip', signal);
      expect((await buffer(object?.read(0, object.length) ?? Readable.from([]))).equals(bytes)).toBe(true);
    });
    expect(after).toEqual(before);
    expect(readdirSync(join(folder, 'buckets', Bucket, 'data'))).toHaveLength(2);
    expect(statSync(folder).mode & 0o077).toBe(0);
    writeFileSync(join(folder, 'buckets', Bucket, 'objects', 'broken.json'), 'half a rec');
    await expect(EmbeddedS3.start({ folder, bucket: Bucket })).rejects.toThrow(
      /objects\/broken\.json is damaged\./,
    );
  });

  test('listens on the loopback address alone', async () => {
    const { port } = new URL(servers.s3.endpoint);
    expect((await fetch(`http://127.0.0.1:${port}`)).status).toBe(403);
    await expect(fetch(`http://127.0.0.2:${port}`)).rejects.toThrow('fetch failed');
  });

  test('has separate accounts in each folder', async () => {
    const [one, other] = [options(), options()];
    const server = await EmbeddedS3.start(one);
    await EmbeddedS3.start(other).then((second) => second.stop());
    const stranger = openStore({
      endpoint: server.endpoint,
      credentials: EmbeddedS3.credentials(other.folder),
    });
    await expect(stranger.put('x', 'x', 'text/plain', signal)).rejects.toMatchObject({
      code: 'STORE_LOGIN_REFUSED',
    });
    stranger.close();
    await server.stop();
  });

  test('gives the API and the workers no right that they do not need', async () => {
    const { endpoint } = servers.s3;
    const as = (account: 'api' | 'worker') =>
      openStore({ endpoint, credentials: EmbeddedS3.credentials(join(servers.folder, 's3'), account) });
    const lacks = (permission: string) => ({
      code: 'STORE_ACCESS_DENIED',
      message: expect.stringContaining(permission),
    });
    const worker = as('worker');
    await worker.put('rights/a.zip', 'x', 'text/plain', signal);
    await worker.abortUploads('rights/a.zip', 'none');
    const api = as('api');
    expect(await api.find('rights/a.zip', signal)).toBeDefined();
    await expect(api.put('rights/b.zip', 'x', 'text/plain', signal)).rejects.toMatchObject(
      lacks('s3:PutObject'),
    );
    await expect(api.startUpload('rights/b.zip', signal)).rejects.toMatchObject(lacks('s3:PutObject'));
    await api.delete('rights/a.zip');
    worker.close();
    api.close();
    const client = new S3Client({ endpoint, region: 'us-east-1', forcePathStyle: true });
    Object.assign(process.env, EmbeddedS3.credentials(join(servers.folder, 's3'), 'worker'));
    const create = new CreateBucketCommand({ Bucket: 'another-bucket' });
    await expect(client.send(create)).rejects.toMatchObject({ name: 'AccessDenied' });
    client.destroy();
  });

  test('streams large objects without holding them in memory', async () => {
    const { folder } = options();
    const port = await freePort();
    const endpoint = `http://127.0.0.1:${port}`;
    const server = await ServerProcess.start({
      name: 'The S3 server',
      command: process.execPath,
      args: ['dist/tools/bench/s3-server.js', folder, Bucket, String(port)],
      logFile: `${folder}.log`,
      pidFile: `${folder}.pid`,
      stopSignal: 'SIGTERM',
    });
    await server.ready(() => fetch(endpoint));
    const peak = () =>
      Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${server.pid}/status`, 'utf8'))?.[1]) / 1024;
    const before = peak();
    const store = openStore({ endpoint, credentials: EmbeddedS3.credentials(folder) });
    const part = randomBytes(8 * MiB);
    await Promise.all(
      ['a', 'b', 'c'].map(async (key) => {
        const upload = await store.startUpload(key, signal);
        for (let i = 0; i < 16; i++) await upload.write(part);
        await upload.complete();
        const object = await store.open(key, signal);
        let bytes = 0;
        for await (const chunk of object?.read(0, object.length) ?? []) bytes += (chunk as Buffer).length;
        expect(bytes).toBe(128 * MiB);
      }),
    );
    store.close();
    const grown = peak() - before;
    await server.stop();
    expect(grown).toBeLessThan(100);
  });
});
