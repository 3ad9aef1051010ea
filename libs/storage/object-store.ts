import {
  DeleteObjectCommand,
  HeadBucketCommand,
  HeadObjectCommand,
  ListMultipartUploadsCommand,
  PutObjectCommand,
  S3Client,
} from '@aws-sdk/client-s3';
import { Readable } from 'node:stream';
import { ensureHome, type Settings } from '#config';
import { Failure } from '#contracts';
import { storeBase } from './archive-address.js';
import { isUnsupported, storeFailure, type Target } from './errors.js';
import { abortUpload, MultipartUpload } from './multipart-upload.js';
import { readRange } from './range-read.js';

/** A connection that is silent for so long is taken for dead; the SDK then tries again. */
const SILENCE_MS = 60_000;
const CONNECT_MS = 5_000;
/** The first try and the SDK's own retries with growing pauses. */
const TRIES_PER_REQUEST = 5;

/** An object that bytes can be read from by range. */
export interface StoredObject {
  /** Bytes in all. */
  length: number;
  /** The bytes from `start` to just before `end`; the stream fails rather than end early. */
  read(start: number, end: number): Readable;
}

/** The bucket that archives live in: the only way from here to the AWS SDK. */
export class ObjectStore {
  private readonly client: S3Client;
  readonly bucket: string;

  constructor(private readonly settings: Settings['store']) {
    this.bucket = settings.bucket;
    ensureHome(); // The SDK looks for its configuration there.
    const checksums = settings.checksums === 'when_supported' ? 'WHEN_SUPPORTED' : 'WHEN_REQUIRED';
    this.client = new S3Client({
      region: settings.region,
      ...(settings.endpoint !== undefined && { endpoint: settings.endpoint }),
      forcePathStyle: settings.forcePathStyle,
      requestChecksumCalculation: checksums,
      responseChecksumValidation: checksums,
      maxAttempts: TRIES_PER_REQUEST,
      requestHandler: { connectionTimeout: CONNECT_MS, socketTimeout: SILENCE_MS },
    });
  }

  /** The address that a status shows and that a restore takes. */
  url(key: string): string {
    return storeBase(this.settings) + key;
  }

  startUpload(key: string, signal: AbortSignal): Promise<MultipartUpload> {
    return MultipartUpload.start({ client: this.client, bucket: this.bucket, key, signal });
  }

  /**
   * An object to be read by range. Should it be replaced meanwhile, reading fails.
   * @returns undefined when there is none. @throws Failure STORE_*
   */
  async open(key: string, signal: AbortSignal): Promise<StoredObject | undefined> {
    try {
      const command = new HeadObjectCommand({ Bucket: this.bucket, Key: key });
      const { ContentLength, ETag } = await this.client.send(command, { abortSignal: signal });
      const object = { client: this.client, bucket: this.bucket, key, etag: ETag };
      return {
        length: ContentLength ?? 0,
        // Wrapped, so that a reader has a stream at once and errors arrive in it.
        read: (start, end) => Readable.from(readRange(object, start, end, signal), { objectMode: false }),
      };
    } catch (error) {
      const failure = storeFailure(error, this.target(key, 's3:GetObject'));
      if (failure instanceof Failure && failure.code === 'STORE_OBJECT_MISSING') return undefined;
      throw failure;
    }
  }

  /** Writes a small object in one request. @throws Failure STORE_* */
  async put(key: string, body: string, contentType: string, signal: AbortSignal): Promise<void> {
    try {
      await this.client.send(
        new PutObjectCommand({
          Bucket: this.bucket,
          Key: key,
          Body: Buffer.from(body),
          ContentType: contentType,
        }),
        { abortSignal: signal },
      );
    } catch (error) {
      throw storeFailure(error, this.target(key, 's3:PutObject'));
    }
  }

  /** Deletes the object; one that does not exist counts as deleted. @throws Failure STORE_* */
  async delete(key: string, signal?: AbortSignal): Promise<void> {
    try {
      await this.client.send(new DeleteObjectCommand({ Bucket: this.bucket, Key: key }), options(signal));
    } catch (error) {
      throw storeFailure(error, this.target(key, 's3:DeleteObject'));
    }
  }

  /**
   * Aborts every unfinished upload of exactly this key.
   * @param knownUploadId asked for by name, for stores that cannot list uploads
   * @throws Failure STORE_*
   */
  async abortUploads(key: string, knownUploadId: string | undefined, signal: AbortSignal): Promise<void> {
    const ids = new Set(knownUploadId === undefined ? [] : [knownUploadId]);
    try {
      // Sorted by key, and the key itself sorts before all that it is a prefix of: one page is enough.
      const { Uploads = [] } = await this.client.send(
        new ListMultipartUploadsCommand({ Bucket: this.bucket, Prefix: key }),
        options(signal),
      );
      for (const { Key, UploadId } of Uploads) if (Key === key && UploadId !== undefined) ids.add(UploadId);
    } catch (error) {
      if (!isUnsupported(error)) throw storeFailure(error, this.target(key, 's3:ListBucketMultipartUploads'));
    }
    for (const id of ids) await abortUpload(this.client, this.bucket, key, id, signal);
  }

  /** Asks whether the bucket is there and readable. @throws Failure STORE_* */
  async check(signal: AbortSignal): Promise<void> {
    try {
      await this.client.send(new HeadBucketCommand({ Bucket: this.bucket }), { abortSignal: signal });
    } catch (error) {
      throw storeFailure(error, { bucket: this.bucket, permission: 's3:ListBucket' });
    }
  }

  close(): void {
    this.client.destroy();
  }

  private target(key: string, permission: string): Target {
    return { bucket: this.bucket, key, permission };
  }
}

function options(signal: AbortSignal | undefined): { abortSignal?: AbortSignal } {
  return signal === undefined ? {} : { abortSignal: signal };
}
