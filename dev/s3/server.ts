import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { Requests } from './requests.js';
import type { Account } from './signature.js';

export interface S3Options {
  /** The folder for the objects and the accounts' keys. */
  folder: string;
  bucket: string;
  /** A free port if missing. */
  port?: number;
}

/** The rights of the API's and the workers' accounts; the owner has all. */
const ACTIONS = {
  owner: undefined,
  api: ['s3:GetObject', 's3:DeleteObject', 's3:ListBucket'],
  worker: [
    's3:PutObject',
    's3:GetObject',
    's3:DeleteObject',
    's3:AbortMultipartUpload',
    's3:ListBucket',
    's3:ListBucketMultipartUploads',
  ],
} as const;

type AccountName = keyof typeof ACTIONS;

type S3Credentials = Record<'AWS_ACCESS_KEY_ID' | 'AWS_SECRET_ACCESS_KEY', string>;

/**
 * A small S3 server in this process, for development and tests on this machine. It implements the part of S3 that
 * snapshotd uses, checks signatures, rights and checksums, and answers NotImplemented to everything else.
 */
export class EmbeddedS3 {
  private constructor(
    private readonly server: Server,
    readonly endpoint: string,
  ) {}

  static async start({ folder, bucket, port = 0 }: S3Options): Promise<EmbeddedS3> {
    const requests = new Requests(join(folder, 'buckets'), Object.values(accountsOf(folder)));
    requests.createBucket(bucket);
    const server = createServer((request, response) => void requests.answer(request, response));
    server.requestTimeout = 0; // An upload of a part has no time limit.
    server.listen(port, '127.0.0.1');
    await once(server, 'listening');
    return new EmbeddedS3(server, `http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  }

  /** The credentials of an account as environment variables of an S3 client. */
  static credentials(folder: string, account: AccountName = 'owner'): S3Credentials {
    const { accessKeyId, secretAccessKey } = accountsOf(folder)[account];
    return { AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY: secretAccessKey };
  }

  async stop(): Promise<void> {
    this.server.close();
    this.server.closeAllConnections();
    await once(this.server, 'close');
  }
}

/** Generates the accounts once and keeps them in a file that only the present user can read. */
function accountsOf(folder: string): Record<AccountName, Account> {
  const file = join(folder, 'accounts.json');
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  if (!existsSync(file)) {
    const account = (actions: readonly string[] | undefined) => ({
      accessKeyId: randomBytes(10).toString('hex'),
      secretAccessKey: randomBytes(30).toString('base64url'),
      actions,
    });
    const accounts = Object.entries(ACTIONS).map(([name, actions]) => [name, account(actions)]);
    writeFileSync(file, JSON.stringify(Object.fromEntries(accounts)), { mode: 0o600 });
  }
  return JSON.parse(readFileSync(file, 'utf8')) as Record<AccountName, Account>;
}
