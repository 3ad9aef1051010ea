import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  HeadObjectCommand,
  ListMultipartUploadsCommand,
  UploadPartCommand,
} from '@aws-sdk/client-s3';
import { Failure } from '#common';
import type { Bucket } from './bucket.js';
import { type PartLimits, partSize, partsInFlight } from './part-size.js';

export interface UploadOptions {
  bucket: Bucket;
  key: string;
  parts: PartLimits;
  signal: AbortSignal;
}

/**
 * Writes one object as a stream. The object appears with `complete`; `abort` leaves nothing behind. Calls must not
 * overlap.
 */
export class MultipartUpload {
  /** Bytes written so far. */
  length = 0;
  /** Whether `complete` was sent. From then on the object may exist, even without an answer. */
  completing = false;
  private estimatedBytes = 0;
  private part = Buffer.alloc(0);
  /** Buffers of sent parts, for reuse. */
  private readonly spare: Buffer<ArrayBuffer>[] = [];
  private filled = 0;
  private readonly etags: string[] = [];
  private readonly inFlight = new Set<Promise<void>>();
  private failure: unknown;
  private readonly stop = new AbortController();

  private constructor(
    private readonly options: UploadOptions,
    /** The upload id of the store. */
    readonly id: string,
  ) {}

  /**
   * Begins the upload, which also proves that the bucket exists and is writable.
   * @throws Failure STORE_*
   */
  static async start(options: UploadOptions): Promise<MultipartUpload> {
    const { bucket, key, signal } = options;
    const command = new CreateMultipartUploadCommand({
      Bucket: bucket.name,
      Key: key,
      ContentType: 'application/zip',
    });
    let tries = 0;
    const id = await bucket.request(
      // Without the signal: an interrupted request might leave an upload whose id nobody knows.
      async () => {
        tries++;
        const { UploadId } = await bucket.client.send(command);
        if (UploadId === undefined) throw new Error('the object store answered without an upload id');
        return UploadId;
      },
      { key, permission: 's3:PutObject' },
      signal,
    );
    // An earlier try whose answer was lost may have begun an upload whose id nobody knows.
    if (tries > 1)
      for (const other of await listUploads(bucket, key, signal))
        if (other !== id) await abortUpload(bucket, key, other, signal);
    return new MultipartUpload(options, id);
  }

  /** Sets the estimated length, which determines the size of the parts. Call this before the first write. */
  expect(bytes: number): void {
    this.estimatedBytes = bytes;
  }

  /**
   * Writes the next bytes; the caller may reuse the buffer once this resolves. Waits while the maximum of parts is in
   * flight, which is the back-pressure for the source.
   * @throws Failure if a part has failed permanently
   */
  async write(bytes: Uint8Array): Promise<void> {
    for (let taken = 0; taken < bytes.length;) {
      if (this.filled === this.part.length) await this.nextPart();
      const fits = Math.min(bytes.length - taken, this.part.length - this.filled);
      this.part.set(bytes.subarray(taken, taken + fits), this.filled);
      this.filled += fits;
      taken += fits;
    }
    this.length += bytes.length;
    if (this.failure !== undefined) throw this.failure;
  }

  /**
   * Sends the last part and completes the object. Then compares its length with the bytes written.
   * @throws Failure STORE_*, OBJECT_INCOMPLETE
   */
  async complete(): Promise<void> {
    const { bucket, key, signal } = this.options;
    if (this.filled > 0) await this.send();
    await Promise.all(this.inFlight);
    if (this.failure !== undefined) throw this.failure;
    this.completing = true;
    const command = new CompleteMultipartUploadCommand({
      Bucket: bucket.name,
      Key: key,
      UploadId: this.id,
      MultipartUpload: { Parts: this.etags.map((ETag, i) => ({ ETag, PartNumber: i + 1 })) },
    });
    const gone = await bucket
      .request((http) => bucket.client.send(command, http), { key, permission: 's3:PutObject' }, signal)
      .then(
        () => undefined,
        (error: unknown) => {
          if (error instanceof Failure && error.code === 'STORE_UPLOAD_GONE') return error;
          throw error;
        },
      );
    // NoSuchUpload may mean that an earlier try completed the upload and its answer was lost: then the object exists.
    const stored = await this.storedLength();
    if (gone !== undefined && stored === undefined) throw gone;
    if (stored !== this.length)
      throw new Failure(
        'OBJECT_INCOMPLETE',
        'transient',
        `The object ${key} has ${stored} bytes, but ${this.length} were sent.`,
      );
  }

  /**
   * Aborts the upload. Waits for the parts in flight first, because a part that arrives after the abort would remain. Safe
   * to call in any state.
   */
  async abort(): Promise<void> {
    this.stop.abort(new Error('The upload was aborted'));
    await Promise.all(this.inFlight);
    await abortUpload(this.options.bucket, this.options.key, this.id);
  }

  private async nextPart(): Promise<void> {
    if (this.filled > 0) await this.send();
    const { key, parts } = this.options;
    const number = this.etags.length + 1;
    if (number > parts.maxParts)
      throw new Failure(
        'ARCHIVE_TOO_LARGE',
        'permanent',
        `The archive ${key} needs more than the ${parts.maxParts} parts that the store allows; ${this.length} bytes are sent.`,
        { hint: 'Set S3_PART_BYTES higher.' },
      );
    const bytes = partSize(parts, this.estimatedBytes, number);
    const spare = this.spare.pop();
    this.part = spare?.length === bytes ? spare : Buffer.allocUnsafeSlow(bytes);
    this.filled = 0;
  }

  /** Sends the filled part. Waits first while the maximum of parts is in flight. */
  private async send(): Promise<void> {
    while (this.inFlight.size >= partsInFlight(this.part.length)) await Promise.race(this.inFlight);
    if (this.failure !== undefined) throw this.failure;
    const { part } = this;
    const body = part.subarray(0, this.filled);
    this.filled = 0;
    this.part = Buffer.alloc(0);
    const number = this.etags.push('');
    const sending: Promise<void> = this.sendPart(number, body)
      .catch((error: unknown) => {
        this.failure ??= error;
      })
      .finally(() => {
        this.inFlight.delete(sending);
        this.spare.push(part);
      });
    this.inFlight.add(sending);
  }

  private async sendPart(number: number, body: Buffer): Promise<void> {
    const { bucket, key, signal } = this.options;
    const command = new UploadPartCommand({
      Bucket: bucket.name,
      Key: key,
      UploadId: this.id,
      PartNumber: number,
      Body: body,
    });
    this.etags[number - 1] = await bucket.request(
      async (http) => {
        const { ETag } = await bucket.client.send(command, http);
        if (ETag === undefined) throw new Error(`the object store answered part ${number} without an ETag`);
        return ETag;
      },
      { key, permission: 's3:PutObject' },
      AbortSignal.any([signal, this.stop.signal]),
    );
  }

  /** @returns undefined if there is no object */
  private async storedLength(): Promise<number | undefined> {
    const { bucket, key, signal } = this.options;
    const command = new HeadObjectCommand({ Bucket: bucket.name, Key: key });
    try {
      const target = { key, permission: 's3:GetObject' };
      const head = await bucket.request((http) => bucket.client.send(command, http), target, signal);
      return head.ContentLength;
    } catch (error) {
      if (error instanceof Failure && error.code === 'STORE_OBJECT_MISSING') return undefined;
      throw error;
    }
  }
}

/**
 * The ids of all multipart uploads of exactly this key.
 * @throws Failure STORE_*
 */
export async function listUploads(bucket: Bucket, key: string, signal?: AbortSignal): Promise<string[]> {
  const command = new ListMultipartUploadsCommand({ Bucket: bucket.name, Prefix: key });
  const target = { key, permission: 's3:ListBucketMultipartUploads' };
  // The list is sorted by key, and a key comes before all keys that it is a prefix of: one page is enough.
  const { Uploads = [] } = await bucket.request((http) => bucket.client.send(command, http), target, signal);
  return Uploads.flatMap(({ Key, UploadId }) => (Key === key && UploadId !== undefined ? [UploadId] : []));
}

/**
 * Aborts a multipart upload. An upload that no longer exists, or was completed, counts as aborted.
 * @throws Failure STORE_*
 */
export async function abortUpload(
  bucket: Bucket,
  key: string,
  id: string,
  signal?: AbortSignal,
): Promise<void> {
  const command = new AbortMultipartUploadCommand({ Bucket: bucket.name, Key: key, UploadId: id });
  const target = { key, permission: 's3:AbortMultipartUpload' };
  try {
    await bucket.request((http) => bucket.client.send(command, http), target, signal);
  } catch (error) {
    // For a completed upload, S3 answers NoSuchUpload and Swift NoSuchKey.
    if (error instanceof Failure && ['STORE_UPLOAD_GONE', 'STORE_OBJECT_MISSING'].includes(error.code))
      return;
    throw error;
  }
}
