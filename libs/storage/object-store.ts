import {
  DeleteObjectCommand,
  GetObjectCommand,
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
import { StoreClock } from './store-clock.js';
import { readRange, versionOf } from './range-read.js';

/** A connection that is silent for so long is taken for dead, and the request is sent again. */
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
  /** Of its content: objects of one key and one ETag are the same. */
  etag: string | undefined;
  /** Null in a bucket without versions; missing where the store did not say, as in a listing. */
  versionId?: string | null;
  /** When it was written: milliseconds since 1970. */
  modifiedOn: number;
}

/** The bucket that archives live in: the only way from here to the AWS SDK. */
export class ObjectStore {
  private readonly objects: Bucket;
  /** Signs addresses, and sends nothing. */
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

  /** The same store, which tells its user here when it holds them up. */
  telling(trouble: TellTrouble): ObjectStore {
    return new ObjectStore(this.settings, trouble, this.client, this.clock);
  }

  /** The address that a status shows and that a restore takes. */
  url(key: string): string {
    return storeBase(this.settings) + key;
  }

  startUpload(key: string, signal: AbortSignal): Promise<MultipartUpload> {
    return MultipartUpload.start({ bucket: this.objects, key, parts: this.settings, signal });
  }

  /**
   * An object to be read by range. Should it be replaced meanwhile, reading fails.
   * @returns undefined when there is none. @throws Failure STORE_*
   */
  async open(key: string, signal: AbortSignal): Promise<StoredObject | undefined> {
    const object = await this.find(key, signal);
    return object && this.openListed(object, signal);
  }

  /**
   * One object, which takes no right to list.
   * @returns undefined when there is none. @throws Failure STORE_*
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

  /** An object that the store showed, to be read by range as it was then. */
  openListed(
    { key, bytes, etag, versionId }: Pick<ListedObject, 'key' | 'bytes' | 'etag' | 'versionId'>,
    signal: AbortSignal,
  ): StoredObject {
    const object = { bucket: this.objects, key, etag, versionId };
    return {
      length: bytes,
      // Wrapped, so that a reader has a stream at once and errors arrive in it.
      read: (start, end) => Readable.from(readRange(object, start, end, signal), { objectMode: false }),
    };
  }

  /**
   * An address from which anybody may download the object, without credentials of their own: at the endpoint that
   * browsers reach, and by the store's clock, as far as it was seen.
   * @param seconds how long it is good for
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
   * All objects whose keys begin with a prefix, sorted by key. They come in pages: take them as they come.
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

  /** Deletes the object; one that does not exist counts as deleted. @throws Failure STORE_* */
  async delete(key: string, signal?: AbortSignal): Promise<void> {
    const command = new DeleteObjectCommand({ Bucket: this.bucket, Key: key });
    const target = { key, permission: 's3:DeleteObject' };
    await this.objects.request((http) => this.client.send(command, http), target, signal);
  }

  /**
   * Aborts every unfinished upload of exactly this key.
   * @param knownUploadId asked for by name as well, for stores that list an upload late
   * @throws Failure STORE_*
   */
  async abortUploads(key: string, knownUploadId: string | undefined, signal?: AbortSignal): Promise<void> {
    const ids = new Set(await listUploads(this.objects, key, signal));
    if (knownUploadId !== undefined) ids.add(knownUploadId);
    for (const id of ids) await abortUpload(this.objects, key, id, signal);
  }

  /** Asks once whether the bucket is there and readable. @throws Failure STORE_* */
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

function s3Client(settings: Settings['store']): S3Client {
  ensureHome(); // The SDK looks for its configuration there.
  const checksums = settings.checksums === 'when_supported' ? 'WHEN_SUPPORTED' : 'WHEN_REQUIRED';
  return new S3Client({
    region: settings.region,
    ...(settings.endpoint !== undefined && { endpoint: settings.endpoint }),
    forcePathStyle: settings.forcePathStyle,
    requestChecksumCalculation: checksums,
    responseChecksumValidation: checksums,
    // Requests are tried again here, where a status can tell of it.
    maxAttempts: 1,
    requestHandler: { connectionTimeout: CONNECT_MS, socketTimeout: SILENCE_MS },
  });
}
