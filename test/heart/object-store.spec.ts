import { createHash, randomBytes } from 'node:crypto';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  GetObjectCommand,
  ListMultipartUploadsCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  S3Client,
  type S3ClientConfig,
  UploadPartCommand,
} from '@aws-sdk/client-s3';
import { getSignedUrl } from '@aws-sdk/s3-request-presigner';
import type { ObjectStore, StoredObject } from '#storage';
import { S3Proxy } from '../support/s3-proxy.js';
import { openStore, servers } from '../support/servers.js';

/** One to try that the project does not bring, with TEST_S3_ACCESS_KEY_ID and TEST_S3_SECRET_ACCESS_KEY. */
const candidate = process.env['TEST_S3_ENDPOINT'];

interface Server {
  title: string;
  endpoint: string;
  credentials: Record<string, string>;
  /** Swift is laxer here and there, as is said there. */
  isSwift?: boolean;
}

/** The requirements of snapshotd on an S3 server, tested on the embedded one and on an independent one. */
const all: Server[] =
  candidate === undefined
    ? [
        { title: 'the embedded S3 server', ...servers.s3 },
        ...(servers.swift
          ? [{ title: 'OpenStack Swift', ...servers.swift, credentials: servers.swift.owner, isSwift: true }]
          : []),
      ]
    : [
        {
          title: 'the S3 server of TEST_S3_ENDPOINT',
          endpoint: candidate,
          credentials: {
            AWS_ACCESS_KEY_ID: process.env['TEST_S3_ACCESS_KEY_ID'] ?? '',
            AWS_SECRET_ACCESS_KEY: process.env['TEST_S3_SECRET_ACCESS_KEY'] ?? '',
          },
        },
      ];

/** More than S3 lets pass, and longer than an address is good for. */
const BEHIND_MS = 20 * 60_000;

interface SignedRequest {
  path: string;
  query: Record<string, string>;
  headers: Record<string, string>;
}

const Bucket = 'archives';
const MiB = 1024 * 1024;
const md5 = (bytes: Uint8Array) => createHash('md5').update(bytes).digest();
const signal = new AbortController().signal;

describe.each(all)('on $title', ({ endpoint, credentials, isSwift = false }) => {
  const prefix = `contract-${randomBytes(4).toString('hex')}/`;
  let store: ObjectStore;
  /** Sends what snapshotd does not, with all that the SDK does by default. */
  let client: S3Client;

  const clientWith = (
    { AWS_ACCESS_KEY_ID: accessKeyId = '', AWS_SECRET_ACCESS_KEY: secretAccessKey = '' },
    more: S3ClientConfig = {},
  ) =>
    new S3Client({
      ...more,
      endpoint,
      region: 'us-east-1',
      forcePathStyle: true,
      credentials: { accessKeyId, secretAccessKey },
      maxAttempts: 1,
    });

  beforeAll(() => {
    store = openStore({ endpoint, credentials });
    client = clientWith(credentials);
  });
  afterAll(() => {
    store.close();
    client.destroy();
  });

  const put = (name: string, Body: Uint8Array | string) =>
    client.send(new PutObjectCommand({ Bucket, Key: prefix + name, Body }));

  function read(object: StoredObject | undefined, start = 0, end = object?.length ?? 0): Readable {
    if (object === undefined) throw new Error('There is no such object');
    return object.read(start, end);
  }

  const bytesOf = async (key: string) => buffer(read(await store.open(key, signal)));

  async function keysOf(below: string): Promise<string[]> {
    const keys: string[] = [];
    for await (const { key } of store.list(below, signal)) keys.push(key);
    return keys;
  }

  async function uploadsOf(below: string): Promise<string[]> {
    const { Uploads = [] } = await client.send(new ListMultipartUploadsCommand({ Bucket, Prefix: below }));
    return Uploads.map(({ Key = '' }) => Key);
  }

  async function begin(name: string) {
    const Key = prefix + name;
    const { UploadId = '' } = await client.send(new CreateMultipartUploadCommand({ Bucket, Key }));
    const upload = { Bucket, Key, UploadId };
    const part = async (PartNumber: number, Body: Uint8Array) => ({
      PartNumber,
      ETag: (await client.send(new UploadPartCommand({ ...upload, PartNumber, Body }))).ETag,
    });
    const complete = (Parts: { PartNumber: number; ETag: string | undefined }[]) =>
      client.send(new CompleteMultipartUploadCommand({ ...upload, MultipartUpload: { Parts } }));
    const abort = () => client.send(new AbortMultipartUploadCommand(upload));
    return { part, complete, abort };
  }

  describe('a request', () => {
    const refused = async (wrong: Record<string, string>) => {
      const stranger = clientWith({ ...credentials, ...wrong });
      const outcomes = [
        new PutObjectCommand({ Bucket, Key: `${prefix}stranger`, Body: 'x' }),
        new GetObjectCommand({ Bucket, Key: `${prefix}secret` }),
        new ListObjectsV2Command({ Bucket }),
      ].map((command) =>
        stranger.send(command as GetObjectCommand).then(
          () => 'allowed',
          (error: { name: string; $metadata: { httpStatusCode: number } }) =>
            `${error.$metadata.httpStatusCode} ${error.name}`,
        ),
      );
      return Promise.all(outcomes);
    };

    test('with a wrong secret, or of an unknown account, is refused', async () => {
      await put('secret', 'for one alone');
      expect(await refused({ AWS_SECRET_ACCESS_KEY: 'wrong' })).toEqual(
        Array(3).fill('403 SignatureDoesNotMatch'),
      );
      // Swift does not tell who has an account.
      const unknown = isSwift ? '403 SignatureDoesNotMatch' : '403 InvalidAccessKeyId';
      expect(await refused({ AWS_ACCESS_KEY_ID: 'nobody' })).toEqual(Array(3).fill(unknown));
      expect(await keysOf(`${prefix}stranger`)).toEqual([]);
    });

    test('without a signature is refused', async () => {
      await put('secret', 'for one alone');
      const url = `${endpoint}/${Bucket}/${prefix}secret`;
      const outcomes = [
        await fetch(url),
        await fetch(`${url}-2`, { method: 'PUT', body: 'x' }),
        await fetch(url, { method: 'DELETE' }),
        await fetch(`${endpoint}/${Bucket}?list-type=2`),
      ].map(({ status }) => status);
      // Swift takes the first three for requests of its native protocol.
      expect(outcomes).toEqual(isSwift ? [400, 400, 400, 412] : [403, 403, 403, 403]);
      expect(await keysOf(`${prefix}secret`)).toEqual([`${prefix}secret`]);
    });

    /** Sends a signed request other than it was signed. @returns how that went */
    async function sentAs(command: PutObjectCommand, change: (request: SignedRequest) => object) {
      const tampering = clientWith(credentials);
      tampering.middlewareStack.add(
        (next) => (args) => {
          const request = args.request as SignedRequest;
          return next({ ...args, request: Object.assign(request, change(request)) });
        },
        { step: 'finalizeRequest', priority: 'low' },
      );
      try {
        await tampering.send(command);
        return 'allowed';
      } catch (error) {
        const { name, $metadata } = error as { name: string; $metadata: { httpStatusCode: number } };
        return `${$metadata.httpStatusCode} ${name}`;
      } finally {
        tampering.destroy();
      }
    }

    test.each<[string, (request: SignedRequest) => object, RegExp]>([
      [
        'body',
        () => ({ body: 'what was sent..' }),
        /^400 (XAmzContentSHA256Mismatch|BadDigest|InvalidDigest)$/,
      ],
      ['path', ({ path }) => ({ path: `${path}-2` }), /^403 SignatureDoesNotMatch$/],
      ['method', () => ({ method: 'DELETE' }), /^403 SignatureDoesNotMatch$/],
      [
        'parameters',
        ({ query }) => ({ query: { ...query, 'x-id': 'GetObject' } }),
        /^403 SignatureDoesNotMatch$/,
      ],
      [
        'headers',
        ({ headers }) => ({ headers: { ...headers, 'x-amz-copy-source': '/archives/secret' } }),
        isSwift ? /^(400|403|404) / : /^403 AccessDenied$/,
      ],
    ])('that is signed is refused with another %s', async (_what, change, refusal) => {
      const command = new PutObjectCommand({ Bucket, Key: `${prefix}tampered`, Body: 'what was signed' });
      expect(await sentAs(command, change)).toMatch(refusal);
      expect(await keysOf(`${prefix}tampered`)).toEqual([]);
    });

    test('that was signed twenty minutes ago is refused', async () => {
      const late = clientWith(credentials, { systemClockOffset: -20 * 60_000 });
      const command = new PutObjectCommand({ Bucket, Key: `${prefix}late`, Body: 'x' });
      await expect(late.send(command)).rejects.toMatchObject({ name: 'RequestTimeTooSkewed' });
      late.destroy();
    });
  });

  describe('an address to download from', () => {
    test('gives the object under a name, to anybody, for reading only', async () => {
      await put('for download.zip', 'the bytes');
      const url = await store.downloadUrl(`${prefix}for download.zip`, 60);
      const answer = await fetch(url);
      expect([answer.status, await answer.text()]).toEqual([200, 'the bytes']);
      expect(answer.headers.get('content-disposition')).toBe('attachment; filename="for download.zip"');
      const range = await fetch(url, { headers: { range: 'bytes=4-' } });
      expect([range.status, await range.text()]).toEqual([206, 'bytes']);
      expect((await fetch(url, { method: 'DELETE' })).status).toBe(403);
      expect((await fetch(url, { method: 'PUT', body: 'other' })).status).toBe(403);
    });

    test('leads to the endpoint that browsers reach', async () => {
      await put('public.zip', 'the bytes');
      const proxy = await S3Proxy.to(endpoint);
      const behind = openStore({ endpoint, credentials }, { publicEndpoint: proxy.url });
      const url = await behind.downloadUrl(`${prefix}public.zip`, 60);
      expect(url.startsWith(`${proxy.url}/`)).toBe(true);
      expect(await (await fetch(url)).text()).toBe('the bytes');
      behind.close();
      await proxy.close();
    });

    test("is valid by the clock of the store, not by this machine's", async () => {
      await put('late.zip', 'the bytes');
      const late = openStore({ endpoint, credentials });
      const now = Date.now;
      // The SDK asks for the time with `new Date()`, which goes by the global one.
      const real = globalThis.Date;
      globalThis.Date = class extends real {
        constructor(...time: [] | [number | string]) {
          super(time.length === 0 ? now() - BEHIND_MS : time[0]);
        }
        static override now = () => now() - BEHIND_MS;
      } as DateConstructor;
      try {
        await late.find(`${prefix}late.zip`, signal);
        const url = await late.downloadUrl(`${prefix}late.zip`, 900);
        expect((await fetch(url)).status).toBe(200);
      } finally {
        globalThis.Date = real;
        late.close();
      }
    });

    test('is worth nothing once it was changed, or its time is over', async () => {
      await put('one.zip', 'one');
      await put('two.zip', 'two');
      const url = await store.downloadUrl(`${prefix}one.zip`, 60);
      expect((await fetch(url.replace('one.zip', 'two.zip'))).status).toBe(403);
      expect((await fetch(url.replace('X-Amz-Expires=60', 'X-Amz-Expires=600'))).status).toBe(403);
      expect((await fetch(url.replace(/X-Amz-Signature=.{8}/, 'X-Amz-Signature=00000000'))).status).toBe(403);
      const old = await getSignedUrl(client, new GetObjectCommand({ Bucket, Key: `${prefix}one.zip` }), {
        expiresIn: 60,
        signingDate: new Date(Date.now() - 120_000),
      });
      expect((await fetch(old)).status).toBe(403);
    });
  });

  describe('an object', () => {
    test('is read by ranges until it is replaced', async () => {
      const bytes = randomBytes(300_000);
      await put('object', bytes);
      const found = await store.find(`${prefix}object`, signal);
      expect(found).toMatchObject({ bytes: bytes.length, etag: `"${md5(bytes).toString('hex')}"` });
      expect(Math.abs(Date.now() - (found?.modifiedOn ?? 0))).toBeLessThan(60_000);
      const object = await store.open(`${prefix}object`, signal);
      for (const [start, end] of [
        [0, 300_000],
        [0, 1],
        [100_000, 200_001],
        [299_999, 300_000],
      ] as const)
        expect((await buffer(read(object, start, end))).equals(bytes.subarray(start, end))).toBe(true);
      await put('object', randomBytes(300_000));
      await expect(buffer(read(object, 0, 10))).rejects.toMatchObject({
        code: 'STORE_REQUEST_FAILED',
        persistence: 'permanent',
        message: expect.stringContaining('replaced'),
      });
    });

    test.each(['bytes=10-', 'bytes=-4', 'bytes=0-99', 'bytes=4-4'])(
      'is read by the range %s',
      async (Range) => {
        const text = 'fourteen bytes';
        await put('short', text);
        const [, from = '', to = ''] = /=(\d*)-(\d*)/.exec(Range) ?? [];
        const wanted = from === '' ? text.slice(-Number(to)) : text.slice(Number(from), Number(to || 99) + 1);
        const { Body, ContentRange, $metadata } = await client.send(
          new GetObjectCommand({ Bucket, Key: `${prefix}short`, Range }),
        );
        expect([$metadata.httpStatusCode, await Body?.transformToString()]).toEqual([206, wanted]);
        const first = text.indexOf(wanted);
        expect(ContentRange).toBe(`bytes ${first}-${first + wanted.length - 1}/14`);
      },
    );

    test('is not read by a range behind its end', async () => {
      await put('short', 'fourteen bytes');
      const get = new GetObjectCommand({ Bucket, Key: `${prefix}short`, Range: 'bytes=14-' });
      await expect(client.send(get)).rejects.toMatchObject({ $metadata: { httpStatusCode: 416 } });
    });

    test('may be empty', async () => {
      await put('empty', '');
      expect(await store.find(`${prefix}empty`, signal)).toMatchObject({ bytes: 0 });
      expect(await bytesOf(`${prefix}empty`)).toHaveLength(0);
    });

    test('that comes in chunks, with its checksum behind it, is stored as it is or refused', async () => {
      const bytes = randomBytes(3 * MiB + 1);
      const Body = Readable.from([bytes.subarray(0, 100), bytes.subarray(100, MiB), bytes.subarray(MiB)]);
      const stored = await client
        .send(new PutObjectCommand({ Bucket, Key: `${prefix}chunks`, Body, ContentLength: bytes.length }))
        .then(
          () => true,
          () => false, // Whether it hears of the refusal, or of the connection that is closed while it still sends.
        );
      if (stored) expect((await bytesOf(`${prefix}chunks`)).equals(bytes)).toBe(true);
      else expect(await keysOf(`${prefix}chunks`)).toEqual([]);
    });

    test('is gone once it was deleted, as often as you like', async () => {
      await put('doomed', 'x');
      await store.delete(`${prefix}doomed`);
      await store.delete(`${prefix}doomed`);
      expect(await store.find(`${prefix}doomed`, signal)).toBeUndefined();
      await expect(
        buffer(store.openListed({ key: `${prefix}doomed`, bytes: 1, etag: undefined }, signal).read(0, 1)),
      ).rejects.toMatchObject({ code: 'STORE_OBJECT_MISSING' });
    });

    test.each([
      'with blanks',
      'a+b%20c&d=e',
      'ümläut/日本語/🙂',
      '<&>"\'',
      'a/../b',
      'a//b',
      '.hidden',
      "(1)!*'~",
    ])('may have the name %s', async (name) => {
      const key = `${prefix}names/${name}`;
      await put(`names/${name}`, name);
      expect(await keysOf(key)).toEqual([key]);
      expect((await bytesOf(key)).toString()).toBe(name);
      await store.delete(key);
      expect(await keysOf(key)).toEqual([]);
    });

    test('may have a name of 1,024 bytes', async () => {
      const key = (prefix + 'ü'.repeat(600)).slice(0, prefix.length + (1024 - prefix.length) / 2);
      await store.put(key, 'long', 'text/plain', signal);
      expect(await keysOf(key)).toEqual([key]);
      expect((await bytesOf(key)).toString()).toBe('long');
    });
  });

  test('a listing is sorted by bytes, comes in pages, and shows what a name begins with alone', async () => {
    const names = ['a', 'a b', 'a/1', 'a/2', 'a0', 'b', 'ä', '｡', '🙂'];
    for (const name of names.toReversed()) await put(`pages/${name}`, name);
    await put('pages', 'beside');
    const expected = names.map((name) => `${prefix}pages/${name}`);
    expect(await keysOf(`${prefix}pages/`)).toEqual(expected);
    expect(await keysOf(`${prefix}pages/a/`)).toEqual(expected.slice(2, 4));
    const pages: string[][] = [];
    let ContinuationToken: string | undefined;
    do {
      const page = await client.send(
        new ListObjectsV2Command({ Bucket, Prefix: `${prefix}pages/`, MaxKeys: 4, ContinuationToken }),
      );
      pages.push((page.Contents ?? []).map(({ Key = '' }) => Key));
      expect(page.IsTruncated).toBe(page.NextContinuationToken !== undefined);
      ContinuationToken = page.NextContinuationToken;
    } while (ContinuationToken !== undefined);
    expect(pages).toEqual([expected.slice(0, 4), expected.slice(4, 8), expected.slice(8)]);
  });

  test('a missing bucket is named', async () => {
    const elsewhere = openStore({ endpoint, credentials }, { bucket: 'no-such-bucket' });
    await expect(elsewhere.check(signal)).rejects.toMatchObject({ code: 'STORE_BUCKET_MISSING' });
    elsewhere.close();
    await store.check(signal);
  });

  describe('a multipart upload', () => {
    test('as snapshotd makes it is listed until it is complete, and is one object then', async () => {
      const key = `${prefix}whole`;
      const upload = await store.startUpload(key, signal);
      const bytes = randomBytes(20 * MiB + 7);
      await upload.write(bytes);
      expect(await uploadsOf(key)).toEqual([key]);
      expect(await store.find(key, signal)).toBeUndefined();
      await upload.complete();
      expect(await uploadsOf(key)).toEqual([]);
      expect((await bytesOf(key)).equals(bytes)).toBe(true);
      const object = await store.open(key, signal);
      // Across the borders of parts, of 8 MiB.
      const borders = read(object, 8 * MiB - 3, 16 * MiB + 3);
      expect((await buffer(borders)).equals(bytes.subarray(8 * MiB - 3, 16 * MiB + 3))).toBe(true);
    });

    test('of eight parts at once, out of order, is whole and has the ETag that AWS gives it', async () => {
      const parts = Array.from({ length: 8 }, () => randomBytes(5 * MiB));
      const { part, complete } = await begin('eight');
      await part(3, randomBytes(5 * MiB));
      const sent = await Promise.all(
        [7, 5, 3, 1, 8, 6, 4, 2].map((n) => part(n, parts[n - 1] ?? Buffer.of())),
      );
      await complete(sent.toSorted((a, b) => a.PartNumber - b.PartNumber));
      expect((await bytesOf(`${prefix}eight`)).equals(Buffer.concat(parts))).toBe(true);
      const etag = `"${md5(Buffer.concat(parts.map(md5))).toString('hex')}-8"`;
      expect((await store.find(`${prefix}eight`, signal))?.etag).toBe(etag);
    });

    test('that was aborted leaves nothing, takes nothing, and may be aborted again', async () => {
      await store.put(`${prefix}aborted`, 'as it was', 'text/plain', signal);
      const beside = await begin('aborted/beside');
      const { part, complete, abort } = await begin('aborted');
      const sent = [await part(1, randomBytes(5 * MiB))];
      expect(await uploadsOf(`${prefix}aborted`)).toEqual([`${prefix}aborted`, `${prefix}aborted/beside`]);
      // Swift takes the slash off.
      if (!isSwift) expect(await uploadsOf(`${prefix}aborted/`)).toEqual([`${prefix}aborted/beside`]);
      await store.abortUploads(`${prefix}aborted`, undefined);
      expect(await uploadsOf(`${prefix}aborted`)).toEqual([`${prefix}aborted/beside`]);
      await expect(part(2, randomBytes(10))).rejects.toMatchObject({ name: 'NoSuchUpload' });
      await expect(complete(sent)).rejects.toMatchObject({ name: 'NoSuchUpload' });
      await expect(abort()).rejects.toMatchObject({ name: 'NoSuchUpload' });
      await store.abortUploads(`${prefix}aborted`, 'not-an-upload-at-all');
      await beside.abort();
      expect((await bytesOf(`${prefix}aborted`)).toString()).toBe('as it was');
    });

    test('is not complete with a part that was never sent, or another one than was sent', async () => {
      const { part, complete, abort } = await begin('wrong');
      const first = await part(1, randomBytes(5 * MiB));
      await expect(complete([first, { ...first, PartNumber: 2 }])).rejects.toMatchObject({
        name: 'InvalidPart',
      });
      const wrong = { PartNumber: 1, ETag: `"${'0'.repeat(32)}"` };
      await expect(complete([wrong])).rejects.toMatchObject({ name: 'InvalidPart' });
      await abort();
      expect(await store.find(`${prefix}wrong`, signal)).toBeUndefined();
    });
  });
});
