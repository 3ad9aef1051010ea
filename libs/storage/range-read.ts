import { setTimeout as sleep } from 'node:timers/promises';
import { GetObjectCommand, type S3Client } from '@aws-sdk/client-s3';
import { Failure } from '#contracts';
import { storeFailure } from './errors.js';

export interface ObjectVersion {
  client: S3Client;
  bucket: string;
  key: string;
  /** Of the version that is wanted. */
  etag: string | undefined;
}

/** How often in a row a broken read is taken up again without a single byte in between. */
const MAX_RETRIES = 6;
const FIRST_PAUSE_MS = 250;

/**
 * Reads a range and goes on where the connection broke, as long as there is progress.
 * @throws Failure STORE_*; the signal's AbortError
 */
export async function* readRange(
  { client, bucket, key, etag }: ObjectVersion,
  start: number,
  end: number,
  signal: AbortSignal,
): AsyncGenerator<Buffer> {
  let position = start;
  for (let retries = 0; position < end;) {
    const before = position;
    try {
      const { Body } = await client.send(
        new GetObjectCommand({
          Bucket: bucket,
          Key: key,
          Range: `bytes=${position}-${end - 1}`,
          IfMatch: etag,
        }),
        { abortSignal: signal },
      );
      // In Node the SDK's body is a Readable; its type also covers browsers.
      for await (const chunk of Body as AsyncIterable<Buffer>) {
        const wanted = chunk.subarray(0, end - position);
        position += wanted.length;
        yield wanted;
      }
      if (position < end) throw new Error(`the connection ended ${end - position} bytes too early`);
    } catch (error) {
      signal.throwIfAborted();
      const failure = storeFailure(error, { bucket, key, permission: 's3:GetObject' });
      if (failure instanceof Failure && failure.persistence === 'permanent') throw failure;
      retries = position > before ? 1 : retries + 1;
      if (retries > MAX_RETRIES) throw failure;
      await sleep(FIRST_PAUSE_MS * 2 ** (retries - 1), undefined, { signal });
    }
  }
}
