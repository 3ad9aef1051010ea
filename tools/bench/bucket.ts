import type { Readable } from 'node:stream';
import { DeleteObjectCommand, GetObjectCommand, HeadObjectCommand, S3Client } from '@aws-sdk/client-s3';
import { Upload } from '@aws-sdk/lib-storage';

/** A bucket used through the SDK alone, as a script around pg_dump would. */
export class Bucket {
  private readonly client: S3Client;

  constructor(
    endpoint: string,
    credentials: { AWS_ACCESS_KEY_ID: string; AWS_SECRET_ACCESS_KEY: string },
    readonly name: string,
  ) {
    this.client = new S3Client({
      endpoint,
      region: 'us-east-1',
      forcePathStyle: true,
      credentials: {
        accessKeyId: credentials.AWS_ACCESS_KEY_ID,
        secretAccessKey: credentials.AWS_SECRET_ACCESS_KEY,
      },
      // The same as snapshotd's default for servers other than AWS.
      requestChecksumCalculation: 'WHEN_REQUIRED',
      responseChecksumValidation: 'WHEN_REQUIRED',
    });
  }

  /** Uploads a stream with the SDK's default part size and concurrency. */
  async put(key: string, body: Readable): Promise<void> {
    await new Upload({ client: this.client, params: { Bucket: this.name, Key: key, Body: body } }).done();
  }

  async open(key: string): Promise<Readable> {
    const { Body } = await this.client.send(new GetObjectCommand({ Bucket: this.name, Key: key }));
    if (Body === undefined) throw new Error(`The object ${key} came without a body`);
    return Body as Readable;
  }

  async bytes(key: string): Promise<number> {
    const head = await this.client.send(new HeadObjectCommand({ Bucket: this.name, Key: key }));
    return head.ContentLength ?? 0;
  }

  async delete(key: string): Promise<void> {
    await this.client.send(new DeleteObjectCommand({ Bucket: this.name, Key: key }));
  }
}
