import {
  DeleteObjectCommand,
  GetObjectCommand,
  HeadBucketCommand,
  HeadObjectCommand,
  ListMultipartUploadsCommand,
  S3Client,
} from '@aws-sdk/client-s3';
import type { Readable } from 'node:stream';
import type { Settings } from '#config';
import { isUnsupported, storeFailure, type Target } from './errors.js';
import { abortUpload, MultipartUpload } from './multipart-upload.js';

/** A connection that is silent for so long is taken for dead; the SDK then tries again. */
const SILENCE_MS = 60_000;
const CONNECT_MS = 5_000;
/** The first try and the SDK's own retries with growing pauses. */
const TRIES_PER_REQUEST = 5;

/** The bucket that archives live in: the only way from here to the AWS SDK. */
export class ObjectStore {
  private readonly client: S3Client;
  readonly bucket: string;

  constructor(private readonly settings: Settings['store']) {
    this.bucket = settings.bucket;
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
    return `${this.settings.endpoint ?? 'https://s3.amazonaws.com'}/${this.bucket}/${key}`;
  }

  startUpload(key: string, signal: AbortSignal): Promise<MultipartUpload> {
    return MultipartUpload.start({ client: this.client, bucket: this.bucket, key, signal });
  }

  /** @returns the object's length in bytes, or undefined when there is none. @throws Failure STORE_* */
  async length(key: string, signal: AbortSignal): Promise<number | undefined> {
    try {
      const head = await this.client.send(new HeadObjectCommand({ Bucket: this.bucket, Key: key }), {
        abortSignal: signal,
      });
      return head.ContentLength ?? 0;
    } catch (error) {
      const failure = storeFailure(error, this.target(key, 's3:GetObject'));
      if (failure instanceof Error && 'code' in failure && failure.code === 'STORE_OBJECT_MISSING')
        return undefined;
      throw failure;
    }
  }

  /** Reads the bytes from `start` to just before `end`. @throws Failure STORE_* */
  async read(key: string, start: number, end: number, signal: AbortSignal): Promise<Readable> {
    try {
      const { Body } = await this.client.send(
        new GetObjectCommand({ Bucket: this.bucket, Key: key, Range: `bytes=${start}-${end - 1}` }),
        { abortSignal: signal },
      );
      // In Node the SDK's body is always a Readable; its type also covers browsers.
      return Body as Readable;
    } catch (error) {
      throw storeFailure(error, this.target(key, 's3:GetObject'));
    }
  }

  /** Deletes the object; one that does not exist counts as deleted. @throws Failure STORE_* */
  async delete(key: string): Promise<void> {
    try {
      await this.client.send(new DeleteObjectCommand({ Bucket: this.bucket, Key: key }));
    } catch (error) {
      throw storeFailure(error, this.target(key, 's3:DeleteObject'));
    }
  }

  /**
   * Aborts every unfinished upload of exactly this key.
   * @param knownUploadId asked for by name, for stores that cannot list uploads
   * @throws Failure STORE_*
   */
  async abortUploads(key: string, knownUploadId: string | undefined): Promise<void> {
    const ids = new Set(knownUploadId === undefined ? [] : [knownUploadId]);
    try {
      // Sorted by key, and the key itself sorts before all that it is a prefix of: one page is enough.
      const { Uploads = [] } = await this.client.send(
        new ListMultipartUploadsCommand({ Bucket: this.bucket, Prefix: key }),
      );
      for (const { Key, UploadId } of Uploads) if (Key === key && UploadId !== undefined) ids.add(UploadId);
    } catch (error) {
      if (!isUnsupported(error)) throw storeFailure(error, this.target(key, 's3:ListBucketMultipartUploads'));
    }
    for (const id of ids) await abortUpload(this.client, this.bucket, key, id);
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
