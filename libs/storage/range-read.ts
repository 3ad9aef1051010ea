import { GetObjectCommand } from '@aws-sdk/client-s3';
import type { Bucket } from './bucket.js';
import { storeFailure } from './errors.js';

export interface ObjectVersion {
  bucket: Bucket;
  key: string;
  /** Of the version that is wanted. */
  etag: string | undefined;
}

/**
 * Reads a range and goes on where the connection broke.
 * @throws Failure STORE_* when not a byte more has come for too long; the signal's reason
 */
export async function* readRange(
  { bucket, key, etag }: ObjectVersion,
  start: number,
  end: number,
  signal: AbortSignal,
): AsyncGenerator<Buffer> {
  const retries = bucket.retries(signal);
  try {
    for (let position = start; position < end;) {
      try {
        const { Body } = await bucket.client.send(
          new GetObjectCommand({
            Bucket: bucket.name,
            Key: key,
            Range: `bytes=${position}-${end - 1}`,
            IfMatch: etag,
          }),
          { abortSignal: signal },
        );
        // In Node the SDK's body is a Readable; its type also covers browsers.
        for await (const chunk of Body as AsyncIterable<Buffer>) {
          retries.over();
          const wanted = chunk.subarray(0, end - position);
          position += wanted.length;
          yield wanted;
        }
        if (position < end) throw new Error(`the connection ended ${end - position} bytes too early`);
      } catch (error) {
        await retries.after(storeFailure(error, bucket.name, { key, permission: 's3:GetObject' }));
      }
    }
  } finally {
    retries.over();
  }
}
