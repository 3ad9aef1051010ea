import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import type { Rig } from './rig.js';
import type { Sample } from './results.js';

export interface PeerTask {
  rig: Rig;
  /** The folder of pg_dump and pg_restore. */
  binaries: string;
  databaseUrl: string;
  /** The dump's key in the bucket. */
  key: string;
}

/** Pipes a schema's custom-format dump into the bucket. @param compression such as -Z1; pg_dump's default if missing */
export async function dump(task: PeerTask, schema: string, compression: string[] = []): Promise<Sample> {
  const { rig, key } = task;
  const began = performance.now();
  const child = spawn(join(task.binaries, 'pg_dump'), ['-Fc', ...compression, '-n', schema], {
    env: libpqEnvironment(task.databaseUrl),
    stdio: ['ignore', 'pipe', 'pipe'],
    signal: rig.signal,
  });
  try {
    await Promise.all([success(child, 'pg_dump'), rig.bucket.put(key, child.stdout)]);
  } finally {
    child.kill();
  }
  return { seconds: (performance.now() - began) / 1000, bytes: await rig.bucket.bytes(key) };
}

/** Pipes a dump from the bucket into pg_restore, which replaces the tables. */
export async function restoreDump(task: PeerTask): Promise<Sample> {
  const { rig, key } = task;
  const database = new URL(task.databaseUrl).pathname.slice(1);
  const began = performance.now();
  const child = spawn(
    join(task.binaries, 'pg_restore'),
    ['--clean', '--if-exists', '--single-transaction', '-d', database],
    { env: libpqEnvironment(task.databaseUrl), stdio: ['pipe', 'ignore', 'pipe'], signal: rig.signal },
  );
  try {
    const download = async () => pipeline(await rig.bucket.open(key), child.stdin);
    await Promise.all([success(child, 'pg_restore'), download()]);
  } finally {
    child.kill();
  }
  return { seconds: (performance.now() - began) / 1000 };
}

/** The connection as environment variables: a password in the arguments would be visible to all users. */
export function libpqEnvironment(databaseUrl: string): NodeJS.ProcessEnv {
  const { hostname, port, username, password, pathname } = new URL(databaseUrl);
  return {
    ...process.env,
    PGHOST: hostname,
    PGPORT: port,
    PGUSER: decodeURIComponent(username),
    PGPASSWORD: decodeURIComponent(password),
    PGDATABASE: pathname.slice(1),
  };
}

/** Waits until a program ends. @throws Error with its stderr if it fails */
export async function success(child: ChildProcess, name: string): Promise<void> {
  let said = '';
  child.stderr?.on('data', (text: Buffer) => (said += text.toString()));
  const [code] = (await once(child, 'close')) as [number | null];
  if (code !== 0) throw new Error(`${name} ended with ${code ?? 'a signal'}: ${said.trim()}`);
}
