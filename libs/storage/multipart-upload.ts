import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  HeadObjectCommand,
  type S3Client,
  UploadPartCommand,
} from '@aws-sdk/client-s3';
import { Failure } from '#contracts';
import { isUnsupported, storeFailure, type Target } from './errors.js';
import { partSize } from './part-size.js';

/** Parts on their way at once. With the one that fills up they bound the upload's memory. */
const PARTS_IN_FLIGHT = 3;

export interface UploadOptions {
  client: S3Client;
  bucket: string;
  key: string;
  signal: AbortSignal;
}

/**
 * One object that is written as a stream. Until `complete` there is no object; `abort` leaves nothing behind.
 * Calls must not overlap.
 */
export class MultipartUpload {
  /** Bytes written so far. */
  length = 0;
  /** Whether `complete` was sent: from then on the object may exist, whatever the answer. */
  completing = false;
  private estimatedBytes = 0;
  private part = Buffer.alloc(0);
  /** Parts that were sent: their memory is used again. */
  private readonly spare: Buffer<ArrayBuffer>[] = [];
  private filled = 0;
  private readonly etags: string[] = [];
  private readonly inFlight = new Set<Promise<void>>();
  private failure: unknown;
  private readonly stop = new AbortController();

  private constructor(
    private readonly options: UploadOptions,
    /** As the store names the upload. */
    readonly id: string,
  ) {}

  /**
   * Begins the upload, which is also the proof that the bucket exists and may be written to.
   * @throws Failure STORE_*
   */
  static async start(options: UploadOptions): Promise<MultipartUpload> {
    const { client, bucket, key, signal } = options;
    try {
      const { UploadId } = await client.send(
        new CreateMultipartUploadCommand({ Bucket: bucket, Key: key, ContentType: 'application/zip' }),
        { abortSignal: signal },
      );
      if (UploadId === undefined) throw new Error('the object store answered without an upload id');
      return new MultipartUpload(options, UploadId);
    } catch (error) {
      throw storeFailure(error, { bucket, key, permission: 's3:PutObject' });
    }
  }

  /** How long the object will be, roughly: chooses the size of the parts. To be called before the first write. */
  expect(bytes: number): void {
    this.estimatedBytes = bytes;
  }

  /**
   * Takes the next bytes; the buffer may be used again once this resolves. Resolves when there is room for
   * more: while all slots are taken it waits, which is what slows the source down.
   * @throws Failure as soon as any part has failed for good
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
   * Sends what is left and makes the object visible. Then holds its length against the bytes written.
   * @throws Failure STORE_*, OBJECT_INCOMPLETE
   */
  async complete(): Promise<void> {
    const { client, bucket, key, signal } = this.options;
    if (this.filled > 0) await this.send();
    await Promise.all(this.inFlight);
    if (this.failure !== undefined) throw this.failure;
    this.completing = true;
    try {
      await client.send(
        new CompleteMultipartUploadCommand({
          Bucket: bucket,
          Key: key,
          UploadId: this.id,
          MultipartUpload: { Parts: this.etags.map((ETag, i) => ({ ETag, PartNumber: i + 1 })) },
        }),
        { abortSignal: signal },
      );
    } catch (error) {
      throw storeFailure(error, this.target('s3:PutObject'));
    }
    const stored = await this.storedLength();
    if (stored !== this.length)
      throw new Failure(
        'OBJECT_INCOMPLETE',
        'transient',
        `The object ${key} has ${stored} bytes where ${this.length} were sent.`,
      );
  }

  /**
   * Gives up: waits for the parts on their way, since one that arrives later would stay behind, then has the
   * store forget them all. Safe to call in any state.
   * @returns false where the store does not know how to abort an upload
   */
  async abort(): Promise<boolean> {
    this.stop.abort(new Error('The upload was given up'));
    await Promise.all(this.inFlight);
    return abortUpload(this.options.client, this.options.bucket, this.options.key, this.id);
  }

  private async nextPart(): Promise<void> {
    if (this.filled > 0) await this.send();
    const bytes = partSize(this.estimatedBytes, this.etags.length + 1);
    const spare = this.spare.pop();
    this.part = spare?.length === bytes ? spare : Buffer.allocUnsafeSlow(bytes);
    this.filled = 0;
  }

  /** Puts the filled part on its way; waits for a slot first. */
  private async send(): Promise<void> {
    while (this.inFlight.size >= PARTS_IN_FLIGHT) await Promise.race(this.inFlight);
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
    const { client, bucket, key, signal } = this.options;
    try {
      const { ETag } = await client.send(
        new UploadPartCommand({
          Bucket: bucket,
          Key: key,
          UploadId: this.id,
          PartNumber: number,
          Body: body,
        }),
        { abortSignal: AbortSignal.any([signal, this.stop.signal]) },
      );
      if (ETag === undefined) throw new Error(`the object store answered part ${number} without an ETag`);
      this.etags[number - 1] = ETag;
    } catch (error) {
      throw storeFailure(error, this.target('s3:PutObject'));
    }
  }

  private async storedLength(): Promise<number | undefined> {
    const { client, bucket, key, signal } = this.options;
    try {
      const head = await client.send(new HeadObjectCommand({ Bucket: bucket, Key: key }), {
        abortSignal: signal,
      });
      return head.ContentLength;
    } catch (error) {
      throw storeFailure(error, this.target('s3:GetObject'));
    }
  }

  private target(permission: string): Target {
    return { bucket: this.options.bucket, key: this.options.key, permission };
  }
}

/**
 * Has the store forget an unfinished upload. One that is gone already, or was completed, counts as forgotten.
 * @returns false where the store does not know this call
 */
export async function abortUpload(
  client: S3Client,
  bucket: string,
  key: string,
  id: string,
  signal?: AbortSignal,
): Promise<boolean> {
  try {
    await client.send(
      new AbortMultipartUploadCommand({ Bucket: bucket, Key: key, UploadId: id }),
      signal === undefined ? {} : { abortSignal: signal },
    );
    return true;
  } catch (error) {
    if (isUnsupported(error)) return false;
    // Of one that was completed S3 says NoSuchUpload, and Swift NoSuchKey.
    if (error instanceof Error && ['NoSuchUpload', 'NoSuchKey'].includes(error.name)) return true;
    throw storeFailure(error, { bucket, key, permission: 's3:AbortMultipartUpload' });
  }
}
