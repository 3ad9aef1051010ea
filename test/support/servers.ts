import { createHash, randomBytes } from 'node:crypto';
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

/** The servers of this process, out of the sets that global-setup.cjs started. */
export const servers = ownServers();

const ownPostgres = process.env['TEST_POSTGRES_URL'];

/** Whether sweeps run whole, with THOROUGH=1, or as the sample of `npm test`. */
export const thorough = process.env['THOROUGH'] === '1' || ownPostgres !== undefined;

/** The installed PostgreSQL majors and that of TEST_POSTGRES_URL: titles and URLs for describe.each. */
export const postgresMajors: [string, string][] = [
  ['the embedded PostgreSQL', servers.postgres],
  ...(servers.debianPostgres
    ? [["Debian's PostgreSQL", servers.debianPostgres.url] as [string, string]]
    : []),
  ...(ownPostgres ? [['the PostgreSQL of TEST_POSTGRES_URL', ownPostgres] as [string, string]] : []),
];

/** The seed of this run's samples, which global-setup.cjs prints. SEED=… repeats one. */
export const seed = Number(process.env['SEED'] ?? 1);

/** All of a sweep with THOROUGH=1; otherwise a random sample of this size, in the sweep's order. */
export function sample<Item>(sweep: Item[], size: number): Item[] {
  if (thorough) return sweep;
  const rank = (index: number) => createHash('md5').update(`${seed} ${index}`).digest('hex');
  const chosen = new Set(
    [...sweep.keys()].toSorted((one, other) => (rank(one) < rank(other) ? -1 : 1)).slice(0, size),
  );
  return sweep.filter((_, index) => chosen.has(index));
}

/** The part of a sweep that runs on one of the {@link postgresMajors}: each item runs on one, or on all with THOROUGH=1. */
export function shareOf<Item>(sweep: Item[], server: string): Item[] {
  const place = postgresMajors.findIndex(([, url]) => url === server);
  return thorough ? sweep : sweep.filter((_, index) => (index + seed) % postgresMajors.length === place);
}

/** One of several servers that are expected to behave the same; all of them with THOROUGH=1. */
export function oneOf<Server>(all: Server[], place: number): Server[] {
  const first = place % all.length;
  return thorough ? all : all.slice(first, first + 1);
}

/** The installed queues. The PostgreSQL queue is in the database of the accounts. */
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

/** For tests on OpenStack Swift; skipped if it is not installed. */
export const describeOnSwift = servers.swift ? describe : describe.skip;

export function swift() {
  if (servers.swift === undefined) throw new Error('Swift does not run');
  return servers.swift;
}

/** Creates an empty database. @returns its URL */
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

/** Creates an empty database and an ordinary role that may create schemas in it. @returns URLs of a superuser and of the role */
export async function newOwnedDatabase(
  server = servers.postgres,
): Promise<{ admin: string; url: string; role: string; database: string }> {
  const admin = await newDatabase(server);
  const role = `owner_${randomBytes(4).toString('hex')}`;
  const url = new URL(admin);
  const database = url.pathname.slice(1);
  await sql(
    admin,
    `CREATE ROLE ${role} LOGIN PASSWORD 'pw'; GRANT CREATE ON DATABASE ${database} TO ${role}`,
  );
  [url.username, url.password] = [role, 'pw'];
  return { admin, url: url.href, role, database };
}

/** Runs statements on a new connection and gives the rows of the last one. */
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

/** Opens a store. The credentials become environment variables, where the SDK looks first. */
export function openStore(
  { endpoint, credentials }: S3Access,
  more: Partial<Settings['store']> = {},
): ObjectStore {
  Object.assign(process.env, credentials);
  return new ObjectStore(storeSettings(endpoint, more));
}

/** Opens the embedded store for the tests of a file and closes it after them. */
export function storeOfTests(): ObjectStore {
  const store = openStore(servers.s3);
  afterAll(() => store.close());
  return store;
}

/** Writes an object into the embedded S3 server. */
export async function putBytes(key: string, bytes: Buffer): Promise<void> {
  const client = new S3Client({
    endpoint: servers.s3.endpoint,
    region: 'us-east-1',
    forcePathStyle: true,
  });
  await client.send(new PutObjectCommand({ Bucket: 'archives', Key: key, Body: bytes }));
  client.destroy();
}
