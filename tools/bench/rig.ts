import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync } from 'node:fs';
import { rm, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import pg from 'pg';
import { EmbeddedPostgres, EmbeddedS3, freePort, ServerProcess } from '../../dev/index.js';
import { Bucket } from './bucket.js';

const DEBIAN = '/usr/lib/postgresql';
const BUCKET = 'bench';

interface S3 {
  endpoint: string;
  credentials: ReturnType<typeof EmbeddedS3.credentials>;
}

/** The servers that all competitors share. */
export interface Rig {
  /** For all files of the run; removed at its end. */
  folder: string;
  postgres: EmbeddedPostgres;
  /** The folder of pg_dump and pg_restore of the server's major version. */
  binaries: string | undefined;
  s3: S3;
  bucket: Bucket;
  administrator: { email: string; password: string };
  /** Aborted to end the run early. */
  signal: AbortSignal;
  /** Everything that `stop` stops, in reverse order. */
  running: { stop(): Promise<void> }[];
  /** May be called again after more was started. */
  stop(): Promise<void>;
  /** Stops everything and removes what it wrote. */
  discard(): Promise<void>;
}

/**
 * The maximum disk space for an entity: two copies of its row and index entries, because a restore loads the new ones
 * before it drops the old, the write-ahead log, and the archive and its upload.
 */
const DISK_BYTES_PER_ENTITY = 2_000;

/** Starts the servers. @throws Error if one does not start, after stopping the others */
export async function startRig(below: string, signal: AbortSignal): Promise<Rig> {
  const folder = mkdtempSync(join(below, 'snapshotd-bench-'));
  // PostgreSQL may run as another user, who must be able to enter the folder.
  chmodSync(folder, 0o711);
  const running: { stop(): Promise<void> }[] = [];
  const stop = async () => {
    for (let part = running.pop(); part !== undefined; part = running.pop()) await part.stop();
  };
  const discard = async () => {
    await stop();
    await rm(folder, { recursive: true, force: true });
  };
  try {
    const binaries = debianBinaries();
    say(`Starting PostgreSQL from ${binaries ?? 'npm'} and an S3 server, each as a separate process`);
    const postgres = await EmbeddedPostgres.start({
      folder: join(folder, 'postgres'),
      durable: false,
      ...(binaries !== undefined && { binaries }),
      // Autovacuum would disturb some runs and not others. The benchmark calls VACUUM itself.
      settings: { autovacuum: 'off' },
    });
    running.push(postgres);
    const s3 = await startS3(folder);
    running.push(s3.process);
    const bucket = new Bucket(s3.endpoint, s3.credentials, BUCKET);
    return {
      folder,
      postgres,
      binaries,
      s3,
      bucket,
      administrator: { email: 'bench@example.org', password: randomBytes(12).toString('base64url') },
      signal,
      running,
      stop,
      discard,
    };
  } catch (error) {
    await discard();
    throw error;
  }
}

/** Whether the disk has room for a repository of this size and its backup and restore. */
export async function hasRoomFor({ folder }: Rig, entities: number): Promise<boolean> {
  const { bavail, bsize } = await statfs(folder);
  return bavail * bsize >= entities * DISK_BYTES_PER_ENTITY;
}

/** The versions of the programs that compete. */
export async function versions({ postgres, binaries }: Rig): Promise<{ postgres: string; peers: string }> {
  const server = await withClient(postgres.url(), async (client) => {
    const { rows } = await client.query<{ server_version: string }>('SHOW server_version');
    return rows[0]?.server_version ?? 'unknown';
  });
  const peers =
    binaries === undefined
      ? 'no pg_dump'
      : execFileSync(join(binaries, 'pg_dump'), ['--version'], { encoding: 'utf8' }).trim();
  return { postgres: server, peers };
}

/** Debian's newest PostgreSQL. pg_dump refuses a newer server, so both come from one installation. */
function debianBinaries(): string | undefined {
  const majors = existsSync(DEBIAN) ? readdirSync(DEBIAN).toSorted((a, b) => Number(b) - Number(a)) : [];
  return majors
    .map((major) => join(DEBIAN, major, 'bin'))
    .find((bin) => ['postgres', 'pg_dump', 'pg_restore'].every((program) => existsSync(join(bin, program))));
}

async function startS3(folder: string): Promise<S3 & { process: ServerProcess }> {
  const own = join(folder, 's3');
  mkdirSync(own);
  const objects = join(own, 'objects');
  const port = await freePort();
  const endpoint = `http://127.0.0.1:${port}`;
  const server = await ServerProcess.start({
    name: 'The S3 server',
    command: process.execPath,
    args: ['--no-warnings', join(__dirname, 's3-server.js'), objects, BUCKET, String(port)],
    logFile: join(own, 's3.log'),
    pidFile: join(own, 's3.pid'),
    stopSignal: 'SIGTERM',
  });
  await server.ready(() => fetch(endpoint));
  return { process: server, endpoint, credentials: EmbeddedS3.credentials(objects) };
}

const began = performance.now();

/** Prints progress to stderr: stdout is for the results. */
export function say(text: string): void {
  const seconds = ((performance.now() - began) / 1000).toFixed(0);
  process.stderr.write(`${seconds.padStart(5)} s  ${text}\n`);
}

/** Runs work with a new connection. */
export async function withClient<Result>(
  url: string,
  use: (client: pg.Client) => Promise<Result>,
): Promise<Result> {
  const client = new pg.Client({ connectionString: url });
  // If the server stops, the query fails; between queries the error needs no handling.
  client.on('error', () => undefined);
  await client.connect();
  try {
    return await use(client);
  } finally {
    await client.end();
  }
}
