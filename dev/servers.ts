import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { keptPassword } from './folders.js';
import { EmbeddedPostgres } from './postgres.js';
import { EmbeddedRedis } from './redis.js';
import { EmbeddedS3 } from './s3/server.js';

export interface ServersOptions {
  /** The folder for their data. */
  folder: string;
  /** The present settings: a server that they name replaces an embedded one. */
  env: NodeJS.ProcessEnv;
  /** Whether their data must survive a crash of the machine. */
  durable: boolean;
  /** The script that creates the PostgreSQL roles of the API and the workers; without it both are superusers. */
  rolesScript?: string;
  /** The kind of queue; if missing, a private redis-server if one is installed. */
  queue?: 'redis' | 'postgres';
  /** Called with the name of each server before it starts. */
  onStart?: (server: string) => void;
  ports?: { postgres?: number | undefined; redis?: number | undefined; s3?: number | undefined };
}

/** The embedded servers that the API and the workers need. */
export interface Servers {
  /** The settings of the API and the workers for these servers. */
  env: Record<string, string>;
  /** The settings that differ: each has separate accounts with only the rights that it needs. */
  accounts: { api: Record<string, string>; worker: Record<string, string> };
  postgres?: EmbeddedPostgres;
  redis?: EmbeddedRedis;
  s3?: EmbeddedS3;
  stop(): Promise<void>;
}

const BUCKET = 'snapshotd-archives';

/** Starts the missing servers. @throws Error if one does not start, after stopping the others */
export async function startServers(options: ServersOptions): Promise<Servers> {
  const { folder, env: given, durable, onStart = () => undefined, ports = {} } = options;
  const env: Record<string, string> = {};
  const started: { stop(): Promise<void> }[] = [];
  const stop = async () => {
    for (const server of started.toReversed()) await server.stop();
  };
  const servers: Servers = { env, accounts: { api: {}, worker: {} }, stop };
  try {
    if (!given['SECRET_KEY'] && !given['SECRET_KEY_FILE']) env['SECRET_KEY_FILE'] = keptSecretKey(folder);
    if (!given['S3_ENDPOINT']) {
      const bucket = given['S3_BUCKET'] || BUCKET;
      const own = join(folder, 's3');
      onStart('the S3 server');
      servers.s3 = await EmbeddedS3.start({ folder: own, bucket, ...(ports.s3 && { port: ports.s3 }) });
      started.push(servers.s3);
      for (const name of ['api', 'worker'] as const)
        servers.accounts[name] = EmbeddedS3.credentials(own, name);
      Object.assign(env, {
        S3_ENDPOINT: servers.s3.endpoint,
        S3_BUCKET: bucket,
        ...EmbeddedS3.credentials(own),
      });
    }
    if (!given['DATABASE_URL']) {
      onStart('PostgreSQL');
      servers.postgres = await EmbeddedPostgres.start({
        folder: join(folder, 'postgres'),
        durable,
        ...(ports.postgres && { port: ports.postgres }),
      });
      started.push(servers.postgres);
      env['DATABASE_URL'] = servers.postgres.url();
    }
    if (!given['QUEUE_URL']) {
      if ((options.queue ?? (EmbeddedRedis.available() ? 'redis' : 'postgres')) === 'redis') {
        onStart('redis-server');
        servers.redis = await EmbeddedRedis.start({
          folder: join(folder, 'redis'),
          ...(ports.redis && { port: ports.redis }),
        });
        started.push(servers.redis);
        env['QUEUE_URL'] = servers.redis.url;
      } else {
        env['QUEUE_URL'] = given['DATABASE_URL'] || env['DATABASE_URL'] || '';
      }
    }
    if (options.rolesScript !== undefined) await giveRoles(servers, folder, options.rolesScript);
    return servers;
  } catch (error) {
    await stop();
    throw error;
  }
}

/** Creates accounts for the API and the workers, each with only the rights that it needs. */
async function giveRoles(
  { env, accounts, postgres, redis }: Servers,
  folder: string,
  script: string,
): Promise<void> {
  const passwordOf = (name: string) => keptPassword(join(folder, `postgres-${name}-password`));
  if (postgres !== undefined) {
    const [api, worker] = [passwordOf('api'), passwordOf('worker')];
    await postgres.runScript(readFileSync(script, 'utf8'), {
      'snapshotd.api_password': api,
      'snapshotd.worker_password': worker,
    });
    accounts.api['DATABASE_URL'] = postgres.urlOf('snapshotd_api', api);
    // A worker uses no database but the repository.
    accounts.worker['DATABASE_URL'] = postgres.urlOf('snapshotd_worker', worker);
    if (env['QUEUE_URL'] === env['DATABASE_URL'])
      env['QUEUE_URL'] = await postgres.createOwner('snapshotd_queue', passwordOf('queue'));
  }
  if (redis !== undefined)
    for (const app of ['api', 'worker'] as const) accounts[app]['QUEUE_URL'] = redis.urlOf(app);
}

/** Generates a key once and keeps it in a file that only the present user can read. @returns the file */
function keptSecretKey(folder: string): string {
  const file = join(folder, 'secret-key');
  mkdirSync(folder, { recursive: true });
  if (!existsSync(file)) writeFileSync(file, `${randomBytes(32).toString('base64')}\n`, { mode: 0o600 });
  return file;
}
