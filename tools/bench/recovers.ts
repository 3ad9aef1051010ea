import { spawn } from 'node:child_process';
import { createReadStream, createWriteStream, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import type { Deployment } from './deployment.js';
import { libpqEnvironment, success } from './peers.js';
import { expectEntities } from './repository.js';
import type { Competitor, Sample } from './results.js';
import { type Rig, say, withClient } from './rig.js';

const JOBS = String(cpus().length);
export const PARALLEL_RESTORE = `download, pg_restore -j${JOBS} into an empty database, ANALYZE`;
export const RECOVER = `snapshotd recover --jobs ${JOBS}`;

const FOLDER_KEY = 'dump-to-recover/';
/** The databases that the competitors build. */
const [RESTORED, RECOVERED] = ['restored', 'recovered'];

/** The competing ways to build a database from a backup in the bucket. */
export async function recovers(
  rig: Rig,
  deployment: Deployment,
  databaseUrl: string,
  entities: number,
): Promise<Competitor[]> {
  say('Creating a dump in files and an archive to recover');
  const { key } = await deployment.backup();
  const into = (database: string, run: () => Promise<void>) => async (): Promise<Sample> => {
    await withClient(rig.postgres.url(), async (client) => {
      await client.query(`DROP DATABASE IF EXISTS ${RESTORED}`);
      await client.query(`DROP DATABASE IF EXISTS ${RECOVERED}`);
      await client.query('CHECKPOINT');
    });
    const began = performance.now();
    await run();
    const seconds = (performance.now() - began) / 1_000;
    await withClient(rig.postgres.url(database), (client) => expectEntities(client, entities));
    return { seconds, entities };
  };
  const competitors = [{ name: RECOVER, run: into(RECOVERED, () => recover(rig, key)) }];
  const { binaries } = rig;
  if (binaries === undefined) return competitors;
  const files = await dumpFiles(rig, binaries, databaseUrl);
  const restore = () => restoreFiles(rig, binaries, files);
  return [{ name: PARALLEL_RESTORE, run: into(RESTORED, restore) }, ...competitors];
}

/** Runs the command line, which connects to the bucket and the server by itself. */
async function recover(rig: Rig, key: string): Promise<void> {
  const program = join(__dirname, '..', '..', 'apps', 'cli', 'main.js');
  const archive = `s3://${rig.bucket.name}/${key}`;
  const child = spawn(
    process.execPath,
    [program, 'recover', archive, '--to', rig.postgres.url(RECOVERED), '--jobs', JOBS],
    {
      env: {
        ...process.env,
        ...rig.s3.credentials,
        S3_ENDPOINT: rig.s3.endpoint,
        AWS_REGION: 'us-east-1',
        PATH: [rig.binaries, process.env['PATH']].filter((folder) => folder !== undefined).join(':'),
      },
      stdio: ['ignore', 'ignore', 'pipe'],
      signal: rig.signal,
    },
  );
  await success(child, 'snapshotd recover');
}

/** Dumps a database into files, and uploads them. @returns their names */
async function dumpFiles(rig: Rig, binaries: string, databaseUrl: string): Promise<string[]> {
  const folder = join(rig.folder, 'dump-to-recover');
  const child = spawn(join(binaries, 'pg_dump'), ['-Fd', `-j${JOBS}`, '-Z1', '-f', folder], {
    env: libpqEnvironment(databaseUrl),
    stdio: ['ignore', 'ignore', 'pipe'],
    signal: rig.signal,
  });
  await success(child, 'pg_dump');
  const files = readdirSync(folder);
  for (const file of files) await rig.bucket.put(FOLDER_KEY + file, createReadStream(join(folder, file)));
  rmSync(folder, { recursive: true });
  return files;
}

/** Downloads all files at once, and restores them. */
async function restoreFiles(rig: Rig, binaries: string, files: string[]): Promise<void> {
  const folder = join(rig.folder, 'downloaded');
  mkdirSync(folder);
  try {
    await Promise.all(
      files.map(async (file) =>
        pipeline(await rig.bucket.open(FOLDER_KEY + file), createWriteStream(join(folder, file))),
      ),
    );
    await rig.postgres.createDatabase(RESTORED);
    const child = spawn(join(binaries, 'pg_restore'), [`-j${JOBS}`, '-d', RESTORED, folder], {
      env: libpqEnvironment(rig.postgres.url(RESTORED)),
      stdio: ['ignore', 'ignore', 'pipe'],
      signal: rig.signal,
    });
    await success(child, 'pg_restore');
    await withClient(rig.postgres.url(RESTORED), (client) => client.query('ANALYZE'));
  } finally {
    rmSync(folder, { recursive: true });
  }
}
