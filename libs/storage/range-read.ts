import { GetObjectCommand } from '@aws-sdk/client-s3';
import type { Readable } from 'node:stream';
import { Failure } from '#common';
import type { Bucket } from './bucket.js';
import { storeFailure } from './errors.js';

export interface ObjectVersion {
  bucket: Bucket;
  key: string;
  /** The ETag of the version to read. */
  etag: string | undefined;
  /** See ListedObject. */
  versionId: string | null | undefined;
}

/** The version id of an answer. An object that is older than its bucket's versioning has the id "null". */
export function versionOf(id: string | undefined): string | null {
  return id === undefined || id === 'null' ? null : id;
}

/**
 * Reads a range, and resumes after a broken connection.
 * @throws Failure STORE_* if no further byte arrives within the time for retries; the signal's reason
 */
export async function* readRange(
  { bucket, key, etag, versionId }: ObjectVersion,
  start: number,
  end: number,
  signal: AbortSignal,
): AsyncGenerator<Buffer> {
  const retries = bucket.retries(signal);
  try {
    for (let position = start; position < end;) {
      try {
        const { Body, VersionId } = await bucket.client.send(
          new GetObjectCommand({
            Bucket: bucket.name,
            Key: key,
            Range: `bytes=${position}-${end - 1}`,
            IfMatch: etag,
          }),
          { abortSignal: signal },
        );
        // In Node the SDK's body is a Readable; its type also covers browsers.
        const body = Body as Readable;
        if (VersionId !== undefined && versionId !== undefined && versionOf(VersionId) !== versionId) {
          body.destroy();
          throw new Failure(
            'STORE_REQUEST_FAILED',
            'permanent',
            `The object ${key} of the bucket ${bucket.name} was replaced while it was read.`,
          );
        }
        for await (const chunk of body as AsyncIterable<Buffer>) {
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
