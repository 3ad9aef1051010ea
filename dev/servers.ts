import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { keptPassword } from './kept-password.js';
import { EmbeddedPostgres } from './postgres.js';
import { EmbeddedRedis } from './redis.js';
import { EmbeddedS3 } from './s3.js';

export interface ServersOptions {
  /** Where they keep what they hold. */
  folder: string;
  /** Variables that are set already: what they name is used instead of an embedded server. */
  env: NodeJS.ProcessEnv;
  /** Whether what they hold must survive a crash of the machine. */
  durable: boolean;
  /** The script that makes the roles of the API and the workers in PostgreSQL; without it both are superusers. */
  rolesScript?: string;
  /** Which queue to run; a private redis-server where there is one when missing. */
  queue?: 'redis' | 'postgres';
  ports?: { postgres?: number | undefined; redis?: number | undefined; s3?: number | undefined };
}

/** The servers that the API and the workers need, as far as they are not there already. */
export interface Servers {
  /** The variables that lead the API and the workers to them. */
  env: Record<string, string>;
  /** Those that differ: each has accounts of its own, with the rights that it needs. */
  accounts: { api: Record<string, string>; worker: Record<string, string> };
  postgres?: EmbeddedPostgres;
  redis?: EmbeddedRedis;
  s3?: EmbeddedS3;
  stop(): Promise<void>;
}

const BUCKET = 'snapshotd-archives';

/** Starts what is missing. @throws Error when one does not start; those that did are stopped again */
export async function startServers(options: ServersOptions): Promise<Servers> {
  const { folder, env: given, durable, ports = {} } = options;
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

/** Gives the API and the workers what each of them needs of the servers that were started, and no more. */
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
    // A worker knows no database but the repository.
    accounts.worker['DATABASE_URL'] = postgres.urlOf('snapshotd_worker', worker);
    if (env['QUEUE_URL'] === env['DATABASE_URL'])
      env['QUEUE_URL'] = await postgres.createOwner('snapshotd_queue', passwordOf('queue'));
  }
  if (redis !== undefined)
    for (const app of ['api', 'worker'] as const) accounts[app]['QUEUE_URL'] = redis.urlOf(app);
}

/** Generated once and kept, for the present user's eyes only. @returns the file that holds it */
function keptSecretKey(folder: string): string {
  const file = join(folder, 'secret-key');
  mkdirSync(folder, { recursive: true });
  if (!existsSync(file)) writeFileSync(file, `${randomBytes(32).toString('base64')}\n`, { mode: 0o600 });
  return file;
}
