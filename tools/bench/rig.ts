import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync } from 'node:fs';
import { rm, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { EmbeddedPostgres, EmbeddedS3, freePort, ServerProcess } from '../../dev/index.js';
import { Bucket } from './bucket.js';
import { withClient } from './connect.js';
import { say } from './progress.js';

const DEBIAN = '/usr/lib/postgresql';
const BUCKET = 'bench';

interface S3 {
  endpoint: string;
  credentials: ReturnType<typeof EmbeddedS3.credentials>;
}

/** What all competitors share. */
export interface Rig {
  /** For whatever the run writes; it goes when the run ends. */
  folder: string;
  postgres: EmbeddedPostgres;
  /** Where pg_dump and pg_restore of the server's own major version are. */
  binaries: string | undefined;
  s3: S3;
  bucket: Bucket;
  administrator: { email: string; password: string };
  /** Aborted when the run is to end early. */
  signal: AbortSignal;
  /** What `stop` stops, the last one first; those who start more put it here. */
  running: { stop(): Promise<void> }[];
  /** May be called again when more was started. */
  stop(): Promise<void>;
  /** Stops everything and removes what it wrote. */
  discard(): Promise<void>;
}

/**
 * What an entity takes on the disk at most: a row and its indexes twice, since a restore loads the new ones
 * before it lets go of the old, the write-ahead log, and an archive that S3 puts together from its parts.
 */
const DISK_BYTES_PER_ENTITY = 2_000;

/** @throws Error when a server does not start; what did is stopped again */
export async function startRig(below: string, signal: AbortSignal): Promise<Rig> {
  const folder = mkdtempSync(join(below, 'snapshotd-bench-'));
  // PostgreSQL may have to run as another user, who must be able to enter but not to look around.
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
    say(`Starting PostgreSQL from ${binaries ?? 'npm'} and an S3 server, each as a process of its own`);
    const postgres = await EmbeddedPostgres.start({
      folder: join(folder, 'postgres'),
      durable: false,
      ...(binaries !== undefined && { binaries }),
      // It would come at its own times, to one competitor and not to the next. VACUUM is called by hand.
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

/** Whether the disk has room for a repository of so many entities, and for what is done with it. */
export async function hasRoomFor({ folder }: Rig, entities: number): Promise<boolean> {
  const { bavail, bsize } = await statfs(folder);
  return bavail * bsize >= entities * DISK_BYTES_PER_ENTITY;
}

/** Which programs compete. */
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

/** pg_dump refuses a server that is newer than itself: so both come from one installation, or neither. */
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
