import { mkdirSync } from 'node:fs';
import S3rver from 's3rver';

export interface S3Options {
  /** Where the objects are kept. */
  folder: string;
  bucket: string;
  /** A free one when missing. */
  port?: number;
}

/**
 * A small S3 server in this process, for trying things out: it checks no signatures, and it can neither abort
 * nor list unfinished uploads.
 */
export class EmbeddedS3 {
  private constructor(
    private readonly server: S3rver,
    readonly endpoint: string,
  ) {}

  /** What its clients must be set to: it knows one account. */
  static readonly credentials = { AWS_ACCESS_KEY_ID: 'S3RVER', AWS_SECRET_ACCESS_KEY: 'S3RVER' };

  static async start({ folder, bucket, port }: S3Options): Promise<EmbeddedS3> {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    const server = new S3rver({
      address: '127.0.0.1',
      port: port ?? 0,
      directory: folder,
      silent: true,
      configureBuckets: [{ name: bucket }],
    });
    const address = await server.run();
    return new EmbeddedS3(server, `http://127.0.0.1:${address.port}`);
  }

  async stop(): Promise<void> {
    await this.server.close();
  }
}
