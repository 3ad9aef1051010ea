import { readdirSync, readFileSync, utimesSync } from 'node:fs';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import pg from 'pg';

const DAY_MS = 24 * 60 * 60 * 1000;

/** The servers of a throw-away product. */
export interface History {
  databaseUrl: string;
  /** A Redis. */
  queueUrl: string;
  /** The embedded S3 server's folder of the bucket. */
  bucketFolder: string;
}

/**
 * Runs a job and backdates it, so that the console of a new product shows two weeks of history. The job's data and
 * duration stay as they are.
 * @param work starts a job and waits for its end
 */
export async function daysAgo(
  days: number,
  history: History,
  work: () => Promise<{ id: string; backupUrl: string | null }>,
): Promise<void> {
  await setClock(history, days);
  const { id, backupUrl } = await work();
  await setClock(history, 0);
  await backdateJob(history, id, days);
  const name = backupUrl?.split('/').at(-1);
  if (name !== undefined) backdateObjects(history, name, days);
}

/** Shifts PostgreSQL's clock, from which archives take their time. Its function cannot be replaced, only renamed. */
async function setClock({ databaseUrl }: History, daysBack: number): Promise<void> {
  const client = new pg.Client(databaseUrl);
  await client.connect();
  try {
    await client.query(
      `SET allow_system_table_mods = on;
       DO $$ BEGIN
         IF to_regproc('pg_catalog.true_statement_timestamp') IS NULL THEN
           ALTER FUNCTION pg_catalog.statement_timestamp() RENAME TO true_statement_timestamp;
         END IF;
       END $$;
       CREATE OR REPLACE FUNCTION pg_catalog.statement_timestamp() RETURNS timestamptz LANGUAGE sql STABLE
       AS 'SELECT pg_catalog.clock_timestamp() - ${daysBack} * interval ''1 day'''`,
    );
  } finally {
    await client.end();
  }
}

async function backdateJob({ queueUrl }: History, id: string, days: number): Promise<void> {
  const redis = new Redis(queueUrl);
  try {
    const key = `snapshotd:daemons:${id}`;
    const { data = '{}', processedOn, finishedOn } = await redis.hgetall(key);
    const earlier = (time: unknown) => Number(time) - days * DAY_MS;
    const { startedOn, terminatedOn, ...job } = JSON.parse(data) as Record<string, number>;
    const times = {
      startedOn: earlier(startedOn),
      ...(terminatedOn !== undefined && { terminatedOn: earlier(terminatedOn) }),
    };
    await redis.hset(key, {
      data: JSON.stringify({ ...job, ...times }),
      processedOn: earlier(processedOn),
      finishedOn: earlier(finishedOn),
    });
    for (const state of ['completed', 'failed'])
      await redis.zadd(`snapshotd:daemons:${state}`, 'XX', earlier(finishedOn), id);
  } finally {
    redis.disconnect();
  }
}

/** Backdates the files from which the embedded S3 server takes an object's time. */
function backdateObjects({ bucketFolder }: History, name: string, days: number): void {
  const then = new Date(Date.now() - days * DAY_MS);
  for (const file of readdirSync(join(bucketFolder, 'objects'))) {
    const path = join(bucketFolder, 'objects', file);
    const { key } = JSON.parse(readFileSync(path, 'utf8')) as { key: string };
    if (key.startsWith(name)) utimesSync(path, then, then);
  }
}
