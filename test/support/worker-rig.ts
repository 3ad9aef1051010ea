import { randomBytes } from 'node:crypto';
import type { DaemonStatus } from '#contracts';
import type { ServerProcess } from '../../dev/index.js';
import { whatIsThere } from './bucket.js';
import { FollowedDaemon } from './followed-daemon.js';
import { Proxy } from './proxy.js';
import { newDatabase, queues, sql, swift } from './servers.js';
import { nextRedisDatabase, Stack } from './stack.js';

/** The end of all messages of an attempt that takes over from a worker that died, froze or lost the queue. */
export const TAKEN_OVER = /\(taken over from a worker that stopped answering\)$/;

/** Enough rows to interrupt a backup or a restore midway. */
const ROWS = 300_000;

export interface RigOptions {
  /** The URL of an empty database other than that of the accounts. */
  repository?: string;
  /** Fewer rows, for a job that waits for a lock midway. */
  rows?: number;
}

/**
 * A repository, its queue and its part of the bucket, with one worker at a time that fails. Tests can look for leftovers
 * everywhere.
 */
export class WorkerRig {
  private readonly followed: FollowedDaemon[] = [];

  private constructor(
    readonly stack: Stack,
    /** The URL of the repository. */
    readonly database: string,
    private readonly prefix: string,
  ) {}

  static async start(
    queueUrl: string | undefined,
    env: Record<string, string> = {},
    { repository, rows = ROWS }: RigOptions = {},
  ): Promise<WorkerRig> {
    const database = env['DATABASE_URL'] ?? (await newDatabase());
    const prefix = `rig-${randomBytes(4).toString('hex')}/`;
    const stack = await Stack.start({
      queueUrl,
      env: {
        S3_ENDPOINT: swift().endpoint,
        S3_PREFIX: prefix,
        ...swift().owner,
        ...env,
        DATABASE_URL: database,
        ...(repository !== undefined && { REPOSITORY_URL: repository }),
      },
    });
    await sql(
      repository ?? database,
      `CREATE SCHEMA IF NOT EXISTS repository;
       CREATE TABLE repository.long AS
         SELECT i, sha512(i::text::bytea) AS a, sha512((-i)::text::bytea) AS b FROM generate_series(1, ${rows}) i;
       CREATE TABLE repository.marks (mark text);`,
    );
    return new WorkerRig(stack, repository ?? database, prefix);
  }

  /** The worker that was started last. */
  get worker(): ServerProcess {
    const worker = this.stack.workers.at(-1);
    if (worker === undefined) throw new Error('There is no worker');
    return worker;
  }

  /** Whether the worker has logged the start of an attempt. */
  hasBegun({ id }: FollowedDaemon): boolean {
    return new RegExp(`"daemon":"${id}".*"msg":"Started"`).test(this.worker.logTail(1_000));
  }

  /** Waits until a worker has logged the end of its attempt. */
  attemptEnded(worker: ServerProcess, { id }: FollowedDaemon): Promise<void> {
    return worker.logs(new RegExp(`"daemon":"${id}".*"msg":"(Failed: |Completed|Handed back)`));
  }

  async start(type: 'Backup' | 'Restore', body: object = {}): Promise<FollowedDaemon> {
    const { body: status } = await this.stack.call<DaemonStatus>('POST', `/repo/v1/start${type}Daemon`, body);
    const daemon = new FollowedDaemon(this.stack, status.id);
    this.followed.push(daemon);
    return daemon;
  }

  /** Makes a backup without a fault. */
  async backUp(): Promise<DaemonStatus> {
    const last = await (await this.start('Backup')).ended();
    if (last.status !== 'COMPLETED') throw new Error(JSON.stringify(last));
    return last;
  }

  /** Writes a distinguishable row. */
  async mark(mark: string): Promise<void> {
    await sql(this.database, `INSERT INTO repository.marks VALUES ('${mark}')`);
  }

  async marks(): Promise<string[]> {
    const rows = await sql<{ mark: string }>(
      this.database,
      'SELECT mark FROM repository.marks ORDER BY mark',
    );
    return rows.map(({ mark }) => mark);
  }

  /** Changes rows that a restore must bring back. */
  async spoil(): Promise<void> {
    await sql(this.database, `DELETE FROM repository.long WHERE i % 3 = 0; DELETE FROM repository.marks`);
  }

  /** A digest of the large table. */
  async digest(): Promise<string> {
    const [row] = await sql(
      this.database,
      'SELECT count(*) AS rows, sum(hashtextextended(t::text, 0)::numeric) AS hash FROM repository.long t',
    );
    return JSON.stringify(row);
  }

  /** The jobs' sessions with the repository. */
  async sessions(): Promise<string[]> {
    const rows = await sql<{ name: string }>(
      this.database,
      `SELECT application_name AS name FROM pg_stat_activity
        WHERE application_name ~ '^snapshotd (backup|restore|takeover|outcome)' AND datname = current_database()`,
    );
    return rows.map(({ name }) => name);
  }

  /** Everything in the bucket that a job's attempts have made. */
  left({ id }: FollowedDaemon): Promise<{ objects: string[]; uploads: string[] }> {
    return whatIsThere(`${this.prefix}BackupDaemonJob${id}-`);
  }

  keyOf(url: string | null | undefined): string {
    return this.prefix + (url ?? '').split('/').at(-1);
  }

  /** Stops everything. @throws Error if the status of a job went back */
  async stop(): Promise<void> {
    await Promise.all(this.followed.map((daemon) => daemon.stop()));
    await this.stack.stop();
  }
}

/** The duration of work in milliseconds. */
export async function lengthOf(work: () => Promise<unknown>): Promise<number> {
  const began = Date.now();
  await work();
  return Date.now() - began;
}

/** Kills a process. */
export async function kill(process: ServerProcess): Promise<void> {
  process.signal('SIGKILL');
  await process.ended();
}

/** Runs work on both queues in parallel, each with a separate repository. */
export async function onBothQueues<Result>(work: (rig: WorkerRig) => Promise<Result>): Promise<Result[]> {
  return Promise.all(
    queues.map(async ([, queueUrl]) => {
      const rig = await WorkerRig.start(queueUrl);
      return await work(rig).finally(() => rig.stop());
    }),
  );
}

/** The setting of the server behind the proxy. */
const SETTINGS = { queue: 'QUEUE_URL', repository: 'REPOSITORY_URL', store: 'S3_ENDPOINT' } as const;

/** Runs work on both queues in parallel, with a proxy in front of one of the servers. */
export async function onBothQueuesBehind<Result>(
  server: keyof typeof SETTINGS,
  work: (rig: WorkerRig, proxy: Proxy) => Promise<Result>,
  env: Record<string, string> = {},
): Promise<Result[]> {
  return Promise.all(
    queues.map(async ([, queueUrl]) => {
      const database = await newDatabase();
      const queue = queueUrl === undefined ? database : `${queueUrl}/${nextRedisDatabase()}`;
      const through = new URL({ queue, repository: database, store: swift().endpoint }[server]);
      const proxy = await Proxy.to(through.href);
      through.host = new URL(proxy.url).host;
      const rig = await WorkerRig.start(undefined, {
        ...env,
        DATABASE_URL: database,
        QUEUE_URL: queue,
        [SETTINGS[server]]: through.href,
      });
      return await work(rig, proxy).finally(async () => {
        await rig.stop();
        await proxy.close();
      });
    }),
  );
}
