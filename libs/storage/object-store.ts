import {
  DeleteObjectCommand,
  GetObjectCommand,
  GetObjectLockConfigurationCommand,
  HeadBucketCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  S3Client,
} from '@aws-sdk/client-s3';
import { getSignedUrl } from '@aws-sdk/s3-request-presigner';
import { Readable } from 'node:stream';
import { ensureHome, type Settings } from '#config';
import { Failure } from '#common';
import { storeBase } from './archive-address.js';
import { Bucket, type TellTrouble } from './bucket.js';
import { storeFailure } from './errors.js';
import { abortUpload, listUploads, MultipartUpload } from './multipart-upload.js';
import { readRange, versionOf } from './range-read.js';

/** When a silent connection counts as dead, and its request is retried. */
const SILENCE_MS = 60_000;
const CONNECT_MS = 5_000;

/** An object that bytes can be read from by range. */
export interface StoredObject {
  /** Bytes in all. */
  length: number;
  /** The bytes from `start` to just before `end`; the stream fails rather than end early. */
  read(start: number, end: number): Readable;
}

/** An object as the store shows it, in a listing or alone. */
export interface ListedObject {
  key: string;
  bytes: number;
  /** Identifies the content: objects of one key and one ETag are the same. */
  etag: string | undefined;
  /** Null in a bucket without versions; missing if the store did not tell, as in a listing. */
  versionId?: string | null;
  /** When it was written: milliseconds since 1970. */
  modifiedOn: number;
}

/** The bucket for archives. Only this library uses the AWS SDK. */
export class ObjectStore {
  private readonly objects: Bucket;
  /** Signs URLs, and sends nothing. */
  private publicClient: S3Client | undefined;

  constructor(
    private readonly settings: Settings['store'],
    tellTrouble: TellTrouble = () => {},
    private readonly client = s3Client(settings),
    private readonly clock = new StoreClock(client),
  ) {
    this.objects = new Bucket(client, settings.bucket, settings.retryForMs, tellTrouble);
  }

  get bucket(): string {
    return this.settings.bucket;
  }

  /** The same store with another callback for delays. */
  telling(trouble: TellTrouble): ObjectStore {
    return new ObjectStore(this.settings, trouble, this.client, this.clock);
  }

  /** The same store, whose requests fail at once instead of being retried. */
  withoutRetries(): ObjectStore {
    return new ObjectStore({ ...this.settings, retryForMs: 0 }, undefined, this.client, this.clock);
  }

  /** How far the store's clock is ahead of this process's: milliseconds. Undefined until the store has answered. */
  get clockAheadMs(): number | undefined {
    return this.clock.aheadMs;
  }

  /** The backupUrl of a key, which a status shows and a restore takes. */
  url(key: string): string {
    return storeBase(this.settings) + key;
  }

  startUpload(key: string, signal: AbortSignal): Promise<MultipartUpload> {
    return MultipartUpload.start({ bucket: this.objects, key, parts: this.settings, signal });
  }

  /**
   * Opens an object to read ranges of it. Reading fails if the object is replaced meanwhile.
   * @returns undefined if there is none. @throws Failure STORE_*
   */
  async open(key: string, signal: AbortSignal): Promise<StoredObject | undefined> {
    const object = await this.find(key, signal);
    return object && this.openListed(object, signal);
  }

  /**
   * Finds one object. This needs no permission to list.
   * @returns undefined if there is none. @throws Failure STORE_*
   */
  async find(key: string, signal: AbortSignal): Promise<ListedObject | undefined> {
    const command = new HeadObjectCommand({ Bucket: this.bucket, Key: key });
    try {
      const {
        ContentLength = 0,
        ETag,
        VersionId,
        LastModified,
      } = await this.objects.request(
        (http) => this.client.send(command, http),
        { key, permission: 's3:GetObject' },
        signal,
      );
      return {
        key,
        bytes: ContentLength,
        etag: ETag,
        versionId: versionOf(VersionId),
        modifiedOn: LastModified?.getTime() ?? 0,
      };
    } catch (error) {
      if (error instanceof Failure && error.code === 'STORE_OBJECT_MISSING') return undefined;
      throw error;
    }
  }

  /** Opens a listed object to read ranges of it. Reading fails if the object was replaced since. */
  openListed(
    { key, bytes, etag, versionId }: Pick<ListedObject, 'key' | 'bytes' | 'etag' | 'versionId'>,
    signal: AbortSignal,
  ): StoredObject {
    const object = { bucket: this.objects, key, etag, versionId };
    return {
      length: bytes,
      // Wrapped, so that a reader has a stream at once, which carries the errors.
      read: (start, end) => Readable.from(readRange(object, start, end, signal), { objectMode: false }),
    };
  }

  /**
   * A presigned URL from which anybody may download the object. It uses the endpoint for browsers, and the store's clock
   * once that is known.
   * @param seconds its validity
   */
  async downloadUrl(key: string, seconds: number): Promise<string> {
    const name = key.slice(key.lastIndexOf('/') + 1);
    const command = new GetObjectCommand({
      Bucket: this.bucket,
      Key: key,
      ResponseContentDisposition: `attachment; filename="${name}"`,
    });
    try {
      this.publicClient ??= s3Client({
        ...this.settings,
        endpoint: this.settings.publicEndpoint ?? this.settings.endpoint,
      });
      return await getSignedUrl(this.publicClient, command, {
        expiresIn: seconds,
        signingDate: this.clock.now(),
      });
    } catch (error) {
      throw storeFailure(error, this.bucket, { key, permission: 's3:GetObject' });
    }
  }

  /**
   * Lists all objects whose keys begin with a prefix, sorted by key. Fetches pages as the caller consumes them.
   * @throws Failure STORE_*
   */
  async *list(prefix: string, signal: AbortSignal): AsyncGenerator<ListedObject> {
    let next: string | undefined;
    do {
      const command = new ListObjectsV2Command({
        Bucket: this.bucket,
        Prefix: prefix,
        ...(next !== undefined && { ContinuationToken: next }),
      });
      const { Contents = [], NextContinuationToken } = await this.objects.request(
        (http) => this.client.send(command, http),
        { permission: 's3:ListBucket' },
        signal,
      );
      for (const { Key = '', Size = 0, ETag, LastModified } of Contents)
        yield { key: Key, bytes: Size, etag: ETag, modifiedOn: LastModified?.getTime() ?? 0 };
      next = NextContinuationToken;
    } while (next !== undefined);
  }

  /** Writes a small object in one request. @throws Failure STORE_* */
  async put(key: string, body: string, contentType: string, signal: AbortSignal): Promise<void> {
    const command = new PutObjectCommand({
      Bucket: this.bucket,
      Key: key,
      Body: Buffer.from(body),
      ContentType: contentType,
    });
    const target = { key, permission: 's3:PutObject' };
    await this.objects.request((http) => this.client.send(command, http), target, signal);
  }

  /** Deletes an object. A missing object counts as deleted. @throws Failure STORE_* */
  async delete(key: string, signal?: AbortSignal): Promise<void> {
    const command = new DeleteObjectCommand({ Bucket: this.bucket, Key: key });
    const target = { key, permission: 's3:DeleteObject' };
    await this.objects.request((http) => this.client.send(command, http), target, signal);
  }

  /**
   * Aborts every multipart upload of exactly this key.
   * @param knownUploadId aborted even if the store does not list it yet
   * @throws Failure STORE_*
   */
  async abortUploads(key: string, knownUploadId: string | undefined, signal?: AbortSignal): Promise<void> {
    const ids = new Set(await listUploads(this.objects, key, signal));
    if (knownUploadId !== undefined) ids.add(knownUploadId);
    for (const id of ids) await abortUpload(this.objects, key, id, signal);
  }

  /**
   * Returns the default retention of a bucket with Object Lock, such as "GOVERNANCE for 30 days".
   * @returns undefined if deleted objects are gone. @throws Failure STORE_* if the store does not tell
   */
  async objectLock(signal: AbortSignal): Promise<string | undefined> {
    const command = new GetObjectLockConfigurationCommand({ Bucket: this.bucket });
    try {
      const { ObjectLockConfiguration: lock } = await this.client.send(command, { abortSignal: signal });
      if (lock?.ObjectLockEnabled !== 'Enabled') return undefined;
      const { Mode, Days, Years } = lock.Rule?.DefaultRetention ?? {};
      if (Mode === undefined) return 'without a default retention';
      return `${Mode} for ${Days === undefined ? `${Years} years` : `${Days} days`}`;
    } catch (error) {
      const name = error instanceof Error ? error.name : '';
      // Stores without Object Lock answer NotImplemented, and those with it the other name.
      if (name === 'ObjectLockConfigurationNotFoundError' || name === 'NotImplemented') return undefined;
      throw storeFailure(error, this.bucket, { permission: 's3:GetBucketObjectLockConfiguration' });
    }
  }

  /** Checks with one request that the bucket exists and is readable. @throws Failure STORE_* */
  async check(signal: AbortSignal): Promise<void> {
    try {
      await this.client.send(new HeadBucketCommand({ Bucket: this.bucket }), { abortSignal: signal });
    } catch (error) {
      throw storeFailure(error, this.bucket, { permission: 's3:ListBucket' });
    }
  }

  close(): void {
    this.client.destroy();
    this.publicClient?.destroy();
  }
}

/** The object store's clock, from the Date of its latest answer. The store checks signatures by that clock. */
class StoreClock {
  aheadMs: number | undefined;

  constructor(client: S3Client) {
    client.middlewareStack.add(
      (next) => async (request) => {
        const result = await next(request);
        const { headers } = result.response as { headers?: Record<string, string> };
        const shown = Date.parse(headers?.['date'] ?? '');
        if (!Number.isNaN(shown)) this.aheadMs = shown - Date.now();
        return result;
      },
      { step: 'deserialize', name: 'storeClock', priority: 'low' },
    );
  }

  now(): Date {
    return new Date(Date.now() + (this.aheadMs ?? 0));
  }
}

function s3Client(settings: Settings['store']): S3Client {
  ensureHome(); // The SDK looks for its configuration there.
  const checksums = settings.checksums === 'when_supported' ? 'WHEN_SUPPORTED' : 'WHEN_REQUIRED';
  return new S3Client({
    region: settings.region,
    ...(settings.endpoint !== undefined && { endpoint: settings.endpoint }),
    forcePathStyle: settings.forcePathStyle,
    requestChecksumCalculation: checksums,
    responseChecksumValidation: checksums,
    // This library retries requests by itself, so that a status can show it.
    maxAttempts: 1,
    requestHandler: { connectionTimeout: CONNECT_MS, socketTimeout: SILENCE_MS },
  });
}
