import { randomBytes } from 'node:crypto';
import { PutObjectCommand, S3Client } from '@aws-sdk/client-s3';
import pg from 'pg';
import type { Settings } from '#config';
import { ObjectStore } from '#storage';

interface S3Access {
  endpoint: string;
  credentials: Record<string, string>;
}

interface Servers {
  folder: string;
  postgres: string;
  s3: S3Access;
  redis?: string;
  debianPostgres?: { url: string; binaries: string };
  swift?: { endpoint: string; owner: Record<string, string>; reader: Record<string, string> };
}

/** Those of the sets that global-setup.cjs started which are this process's own. */
export const servers = ownServers();

const ownPostgres = process.env['TEST_POSTGRES_URL'];

/** Whether to try all of what `npm test` tries a part of: `npm run test:faults` has the time. */
export const thorough = process.env['THOROUGH'] === '1' || ownPostgres !== undefined;

/** Both PostgreSQL majors where both can be had, and the one that is named: titles and URLs for describe.each. */
export const postgresMajors: [string, string][] = [
  ['the embedded PostgreSQL', servers.postgres],
  ...(servers.debianPostgres
    ? [["Debian's PostgreSQL", servers.debianPostgres.url] as [string, string]]
    : []),
  ...(ownPostgres ? [['the PostgreSQL of TEST_POSTGRES_URL', ownPostgres] as [string, string]] : []),
];

/** Of servers between which no difference is expected the one at a place of their list; all of them when thorough. */
export function oneOf<Server>(all: Server[], place: number): Server[] {
  const first = place % all.length;
  return thorough ? all : all.slice(first, first + 1);
}

/** Both queues where both can be had. The PostgreSQL one lives in the database of the accounts. */
export const queues: [string, string | undefined][] = [
  ...(servers.redis ? [['Redis', servers.redis] as [string, string]] : []),
  ['PostgreSQL', undefined],
];

function ownServers(): Servers {
  const sets = JSON.parse(process.env['SNAPSHOTD_TEST_SERVERS'] ?? '[]') as Servers[];
  const own = sets[Number(process.env['JEST_WORKER_ID'] ?? 1) - 1];
  if (own === undefined) throw new Error('No servers were started for this process');
  return own;
}

/** For tests that need the S3 server with signatures and rights; left out where there is none. */
export const describeOnSwift = servers.swift ? describe : describe.skip;

export function swift() {
  if (servers.swift === undefined) throw new Error('Swift does not run');
  return servers.swift;
}

/** A new empty database. @returns its URL */
export async function newDatabase(server = servers.postgres): Promise<string> {
  const name = `test_${randomBytes(6).toString('hex')}`;
  const client = new pg.Client(server);
  await client.connect();
  await client.query(`CREATE DATABASE ${name} TEMPLATE template0`);
  await client.end();
  const url = new URL(server);
  url.pathname = `/${name}`;
  return url.href;
}

/** Runs statements on a connection of their own and gives the rows of the last one. */
export async function sql<Row extends pg.QueryResultRow>(
  url: string,
  text: string,
  values?: unknown[],
): Promise<Row[]> {
  const client = new pg.Client(url);
  await client.connect();
  try {
    const result = await client.query<Row>(text, values);
    const last = Array.isArray(result) ? (result as pg.QueryResult<Row>[]).at(-1) : result;
    return last?.rows ?? [];
  } finally {
    await client.end();
  }
}

export function storeSettings(endpoint: string, more: Partial<Settings['store']> = {}): Settings['store'] {
  return {
    bucket: 'archives',
    prefix: '',
    region: 'us-east-1',
    endpoint,
    publicEndpoint: undefined,
    forcePathStyle: true,
    maxParts: 10_000,
    partBytes: 8 * 1024 ** 2,
    checksums: 'when_required',
    retryForMs: 60_000,
    ...more,
  };
}

/** A store at an endpoint; the credentials go where the SDK's chain looks first. */
export function openStore(
  { endpoint, credentials }: S3Access,
  more: Partial<Settings['store']> = {},
): ObjectStore {
  Object.assign(process.env, credentials);
  return new ObjectStore(storeSettings(endpoint, more));
}

/** Puts an object into the embedded S3 server that no backup would make. */
export async function putBytes(key: string, bytes: Buffer): Promise<void> {
  const client = new S3Client({
    endpoint: servers.s3.endpoint,
    region: 'us-east-1',
    forcePathStyle: true,
  });
  await client.send(new PutObjectCommand({ Bucket: 'archives', Key: key, Body: bytes }));
  client.destroy();
}
